"""Files that our reader does not take: the Measurement Set is that of the same data as the instrument writes them."""

import logging
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from benchlib.uvdata_oracle import _say_fringe_stopped, columns

from builders.raw_tiles import raw_tile, slots
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import convert_tile
from contimg.core.errors import InputError
from contimg.index import foreign, raw
from contimg.index.uvh5_file import NotOurs

QUIET = FlaggingOptions(aoflagger=False)
SCALE = 1e4


def convert(files, out):
    metrics = convert_tile(slots(files), "tile", out, phase_centre=None, flagging=QUIET, threads=1)
    return metrics, columns(out)


@pytest.fixture(scope="module")
def tile(tmp_path_factory):
    """Files of a small uncalibrated tile, and what conversion makes of them."""
    folder = tmp_path_factory.mktemp("tile")
    files = raw_tile(folder / "raw", noise=False)
    metrics, ours = convert(files, folder / "ours.ms")
    assert metrics["read_by_pyuvdata"] == {}
    return files, ours


def rows_of(file):
    """Datasets with an entry a row."""
    n_rows = int(file["Header/Nblts"][()])
    found = [file[f"{group}/{name}"] for group in ("Header", "Data") for name in file[group]]
    return [entry for entry in found if isinstance(entry, h5py.Dataset) and entry.shape[:1] == (n_rows,)]


def reorder(path, order):
    with h5py.File(path, "r+") as file:
        for entry in rows_of(file):
            entry[...] = entry[()][order]


def by_baseline(path):
    with h5py.File(path) as file:
        n_bl, n_times = int(file["Header/Nbls"][()]), int(file["Header/Ntimes"][()])
    reorder(path, np.arange(n_bl * n_times).reshape(n_times, n_bl).T.ravel())


def shuffled(path):
    with h5py.File(path) as file:
        n_rows = int(file["Header/Nblts"][()])
    reorder(path, np.random.default_rng(4).permutation(n_rows))


def as_integers(path):
    with h5py.File(path, "r+") as file:
        values = file["Data/visdata"][()] * SCALE
        whole = np.empty(values.shape, dtype=[("r", "<i4"), ("i", "<i4")])
        whole["r"], whole["i"] = np.rint(values.real), np.rint(values.imag)
        del file["Data/visdata"]
        file["Data/visdata"] = whole


def by_pyuvdata(how):
    """Write the file again with pyuvdata, which is told where it is phased, phased otherwise."""

    def write(path):
        from pyuvdata import UVData

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = UVData()
            data.read_uvh5(path, run_check=False)
            data.uvw_array = data.uvw_array.astype(np.float64)
            _say_fringe_stopped(data)
            if how == "sidereal":
                data.phase(lon=2.25, lat=0.96, cat_type="sidereal", phase_frame="icrs", cat_name="a place")
            elif how == "unprojected":
                data.unproject_phase()
            data.write_uvh5(path, clobber=True, run_check=False)

    return write


@pytest.mark.parametrize(
    ("change", "all_files", "says"),
    [
        (as_integers, True, "visibilities are pairs of int32"),
        (by_baseline, True, "rows do not run time by time"),
        (shuffled, False, "rows do not run time by time"),
        (by_pyuvdata("sidereal"), True, "phase_center_catalog"),
        (by_pyuvdata("unprojected"), True, "phase_center_catalog"),
        (by_pyuvdata("driftscan"), True, "phase_center_catalog"),
    ],
    ids=["integers", "by baseline", "shuffled in one file", "sidereal", "unprojected", "driftscan"],
)
def test_the_same_data_otherwise_written_are_the_same_set(tile, tmp_path, caplog, change, all_files, says):
    files, ours = tile
    copies = [Path(shutil.copy(path, tmp_path)) for path in files]
    changed = copies if all_files else copies[:1]
    for path in changed:
        change(path)
    header = raw.read_header(changed[0])
    assert says in header.foreign
    with pytest.raises(NotOurs):
        raw.read_layout(changed[0], "own")
    with caplog.at_level(logging.WARNING):
        metrics, theirs = convert(copies, tmp_path / "theirs.ms")
    assert set(metrics["read_by_pyuvdata"]) == {path.name for path in changed}
    assert f"{changed[0]}: read by pyuvdata, slower" in caplog.text
    scale = SCALE if change is as_integers else 1.0
    cross = ours["names"][:, 0] != ours["names"][:, 1]
    loudest = np.abs(ours["DATA"][cross]).max()  # 13
    # Rounding: of integers 1e-4 / 2; of phases rotated twice in complex64 1e-7, of LST and app. places 1e-9 rad
    # on 2.6 km at 1.5 GHz 1e-4 rad.
    np.testing.assert_allclose(
        theirs["DATA"][cross] / scale, ours["DATA"][cross], rtol=0, atol=2e-4 * loudest
    )
    np.testing.assert_array_equal(theirs["FLAG"], ours["FLAG"])
    np.testing.assert_allclose(theirs["UVW"], ours["UVW"], rtol=0, atol=1e-6)


def test_a_place_on_the_sky_taken_for_the_meridian_would_not_pass(tile, tmp_path):
    files, ours = tile
    copies = [Path(shutil.copy(path, tmp_path)) for path in files]
    for path in copies:
        by_pyuvdata("sidereal")(path)
        with h5py.File(path, "r+") as file:
            del file["Header/phase_center_catalog"]
            del file["Header/phase_center_app_dec"]
            file["Header/phase_type"] = np.bytes_("drift")
    _, theirs = convert(copies, tmp_path / "theirs.ms")
    cross = ours["names"][:, 0] != ours["names"][:, 1]
    assert np.abs(theirs["DATA"] - ours["DATA"])[cross].max() > 0.5 * np.abs(ours["DATA"][cross]).max()


@pytest.mark.parametrize(
    "what", ["no diameters", "pointing in extra_keywords only", "baselines in another order"]
)
def test_what_the_standard_leaves_free_is_read_by_ours(tile, tmp_path, what):
    files, ours = tile
    copies = [Path(shutil.copy(path, tmp_path)) for path in files]
    for path in copies:
        with h5py.File(path, "r+") as file:
            if what == "no diameters":
                del file["Header/antenna_diameters"]
            elif what.startswith("pointing"):
                del file["Header/phase_center_app_dec"]
    if what.startswith("baselines"):
        with h5py.File(copies[1]) as file:
            n_bl, n_times = int(file["Header/Nbls"][()]), int(file["Header/Ntimes"][()])
        mixed = np.random.default_rng(2).permutation(n_bl)
        reorder(copies[1], (np.arange(n_times)[:, np.newaxis] * n_bl + mixed).ravel())
    odd = [raw.read_header(path).odd for path in copies]
    assert odd[0] == (("no antenna_diameters: 4.65 m",) if what == "no diameters" else odd[0])
    metrics, theirs = convert(copies, tmp_path / "theirs.ms")
    assert metrics["read_by_pyuvdata"] == {}
    for name in ("DATA", "FLAG", "UVW"):
        np.testing.assert_array_equal(theirs[name], ours[name])


def test_both_readers_give_the_same_of_a_file_of_the_instrument(tile):
    path = str(tile[0][0])
    own, other = raw.read_layout(path, "own"), raw.read_layout(path, "pyuvdata")
    assert other.phased is None
    assert other.foreign == raw.ASKED
    for name in ("times_jd", "integration_s", "ant1", "ant2", "antenna_positions_m", "freq_hz"):
        np.testing.assert_array_equal(getattr(other, name), getattr(own, name))
    assert (other.dec_rad, other.antenna_names, other.polarizations) == (
        own.dec_rad,
        own.antenna_names,
        own.polarizations,
    )
    with raw.open_data(path, own) as ours, raw.open_data(path, other) as theirs:
        for mine, other_ones in zip(ours.read_times(1, 3), theirs.read_times(1, 3), strict=True):
            np.testing.assert_array_equal(other_ones, mine)
        with pytest.raises(ValueError, match="2:9 asked for"):
            theirs.read_times(2, 9)


def test_rows_averaged_by_baseline_are_refused_by_both_with_the_reason(tile, tmp_path):
    path = Path(shutil.copy(tile[0][0], tmp_path))
    by_baseline(path)
    with h5py.File(path, "r+") as file:
        file["Header/time_array"][0] = file["Header/time_array"][0] + 0.001
    with pytest.raises(InputError, match=r"rows do not run time by time, and .* not every baseline"):
        raw.read_header(path)


def test_a_near_field_is_not_honoured(tile, tmp_path, monkeypatch):
    path = Path(shutil.copy(tile[0][0], tmp_path))
    by_pyuvdata("sidereal")(path)
    read = foreign._read

    def near(*arguments, **how):
        data = read(*arguments, **how)
        for entry in data.phase_center_catalog.values():
            entry["cat_type"] = "near_field"
        return data

    monkeypatch.setattr(foreign, "_read", near)
    with pytest.raises(InputError, match="kind near_field, expected one of sidereal"):
        raw.read_header(path)


def test_a_place_on_the_sky_without_a_pointing_is_left_out(tile, tmp_path):
    path = Path(shutil.copy(tile[0][0], tmp_path))
    by_pyuvdata("sidereal")(path)
    with h5py.File(path, "r+") as file:
        del file["Header/extra_keywords/phase_center_dec"]
    with pytest.raises(InputError, match="nothing says where the dishes pointed"):
        raw.read_header(path)
