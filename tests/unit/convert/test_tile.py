"""Conversion against pyuvdata, which reads the same files, and against what the files were made to hold."""

import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from benchlib.uvdata_oracle import columns, uvdata_ms
from casacore import tables

from builders.raw_tiles import REAL_SKY, raw_tile, slots
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import PhaseCentre, convert_tile
from contimg.core.errors import InputError
from contimg.ms.sets import read_meta
from contimg.simulate.options import Source
from contimg.telescope import geometry

QUIET = FlaggingOptions(aoflagger=False)
SECOND_TILE = "1995-04-13T09:21:13"

# The goals of agreement. Both compute in double precision and store complex64 (6e-8): they are met by far.
VISIBILITY_RELATIVE, UVW_M, TIME_S = 1e-5, 1e-3, 2e-6


def convert(files, out, *, centre=None, options=QUIET):
    metrics = convert_tile(slots(files), "tile", out, phase_centre=centre, flagging=options, threads=2)
    return metrics, columns(out)


def phase_centre_of(metrics):
    return np.radians([metrics["phase_centre"]["ra_deg"], metrics["phase_centre"]["dec_deg"]])


def largest_relative_difference(ours, oracle):
    good = oracle["DATA"] != 0
    return np.max(np.abs(ours["DATA"] - oracle["DATA"])[good] / np.abs(oracle["DATA"])[good])


def make_files(kind, folder):
    if kind == "real sky":
        return sorted(REAL_SKY.glob(f"{SECOND_TILE}*"))
    if kind == "north, four polarisations":
        return raw_tile(folder, dec_deg=70.0, n_polarizations=4, transit_of="", start="2025-10-30T13:00:00")
    if kind == "south, ascending":
        return raw_tile(folder, dec_deg=-5.0, descending=False, transit_of="")
    files = raw_tile(folder, n_channels=100)  # more than rotate.RESEED_CHANNELS
    if kind == "frequencies in single precision":
        for path in files:
            with h5py.File(path, "r+") as file:
                file["Header/freq_array"][...] = file["Header/freq_array"][()].astype(np.float32)
    return files


@pytest.mark.parametrize(
    "kind",
    [
        "real sky",
        "gains and delays",
        "frequencies in single precision",
        "north, four polarisations",
        "south, ascending",
    ],
)
def test_uncalibrated_data_agree_with_pyuvdata_told_of_hour_angle_zero(kind, tmp_path):
    files = make_files(kind, tmp_path / "raw")
    metrics, ours = convert(files, tmp_path / "ours.ms")
    uvdata_ms(files, *phase_centre_of(metrics), tmp_path / "oracle.ms")
    oracle = columns(tmp_path / "oracle.ms")
    np.testing.assert_array_equal(ours["names"], oracle["names"])
    np.testing.assert_array_equal(ours["freq_hz"], oracle["freq_hz"])
    np.testing.assert_array_equal(ours["correlations"], oracle["correlations"])
    np.testing.assert_allclose(ours["phase_dir"], oracle["phase_dir"], rtol=0, atol=1e-12)
    assert np.max(np.abs(ours["TIME"] - oracle["TIME"])) < TIME_S
    assert np.max(np.abs(ours["UVW"] - oracle["UVW"])) < UVW_M
    assert largest_relative_difference(ours, oracle) < VISIBILITY_RELATIVE
    for name in np.unique(ours["names"]):
        np.testing.assert_allclose(ours["itrf"][name], oracle["itrf"][name], rtol=0, atol=1e-3)


def test_data_taken_for_raw_correlations_would_not_pass(tmp_path):
    files = raw_tile(tmp_path / "raw")
    metrics, ours = convert(files, tmp_path / "ours.ms")
    uvdata_ms(files, *phase_centre_of(metrics), tmp_path / "drift.ms", fringe_stopped=False)
    assert largest_relative_difference(ours, columns(tmp_path / "drift.ms")) > 1.0


def test_a_calibrators_place_can_be_the_phase_centre(tmp_path):
    files = raw_tile(tmp_path / "raw")
    centre = PhaseCentre("bright", 130.0, 55.4)
    metrics, ours = convert(files, tmp_path / "ours.ms", centre=centre)
    uvdata_ms(files, *np.radians([130.0, 55.4]), tmp_path / "oracle.ms")
    assert largest_relative_difference(ours, columns(tmp_path / "oracle.ms")) < VISIBILITY_RELATIVE
    assert metrics["phase_centre"]["name"] == "bright"


def test_without_noise_and_gains_a_source_at_the_phase_centre_has_no_phase(tmp_path):
    """The simulator shares no code with the conversion: an end-to-end check of every sign."""
    files = raw_tile(
        tmp_path / "raw",
        noise=False,
        gain_amplitude_scatter=0.0,
        gain_phase_scatter_deg=0.0,
        delay_scatter_ns=0.0,
        band_ripple=0.0,
        phase_drift="off",
        smearing=False,
        sources=(raw_source("bright", 130.0, 55.4),),
    )
    _, ours = convert(files, tmp_path / "ours.ms", centre=PhaseCentre("bright", 130.0, 55.4))
    cross = ours["names"][:, 0] != ours["names"][:, 1]
    phases = np.angle(ours["DATA"][cross])
    # The two meridians may differ by the wobble of polar motion, 0.3 arcsec: 1.5e-6 rad of 2.6 km at 1.5 GHz
    # turn 0.12 rad, and that is a shift common to all sources. Everything else agrees to rounding.
    assert np.max(np.abs(phases)) < 0.12
    uvw = ours["UVW"][cross]
    turns = phases[:, 0, 0] / (2 * np.pi) * 299792458.0 / ours["freq_hz"][0]
    (east, north), *_ = np.linalg.lstsq(uvw[:, :2], turns, rcond=None)
    assert np.max(np.abs(turns - uvw[:, :2] @ [east, north])) < 1e-5  # m: complex64 at 0.2 m a turn


def raw_source(name, ra_deg, dec_deg):
    from contimg.simulate.options import Source

    return Source(name, ra_deg, dec_deg, 5.0, 0.0)


def test_baselines_written_the_other_way_round_give_the_same_measurement_set(tmp_path):
    files = raw_tile(tmp_path / "raw", n_polarizations=4)
    (tmp_path / "turned").mkdir()
    for path in files:
        turned = tmp_path / "turned" / path.name
        shutil.copy(path, turned)
        with h5py.File(turned, "r+") as file:
            header, data = file["Header"], file["Data/visdata"]
            first, second = header["ant_1_array"][()], header["ant_2_array"][()]
            rows = np.flatnonzero((first != second) & ((first + second) % 2 == 0))
            header["ant_1_array"][rows], header["ant_2_array"][rows] = second[rows], first[rows]
            codes = list(header["polarization_array"][()])
            swap = [codes.index({-7: -8, -8: -7}.get(int(code), int(code))) for code in codes]
            values = data[()]
            values[rows] = np.conj(values[rows][..., swap])
            data[...] = values
    _, straight = convert(files, tmp_path / "straight.ms")
    _, turned = convert(sorted((tmp_path / "turned").glob("*.hdf5")), tmp_path / "turned.ms")
    # The same sum in another order of operations: one rounding of complex64.
    np.testing.assert_allclose(turned["DATA"], straight["DATA"], rtol=2e-7, atol=1e-6)
    np.testing.assert_array_equal(turned["UVW"], straight["UVW"])


def test_files_without_the_spectral_window_axis_are_read_alike(tmp_path):
    _, old = convert(raw_tile(tmp_path / "old"), tmp_path / "old.ms")
    _, new = convert(raw_tile(tmp_path / "new", spw_axis=False), tmp_path / "new.ms")
    np.testing.assert_array_equal(new["DATA"], old["DATA"])


def test_a_missing_subband_is_zeros_and_flagged_on_the_full_grid(tmp_path):
    files = raw_tile(tmp_path / "raw", n_subbands=3)
    full = slots(files)
    some = [full[0], replace(full[1], path=None), full[2]]
    metrics = convert_tile(some, "tile", tmp_path / "some.ms", phase_centre=None, flagging=QUIET, threads=1)
    _, whole = convert(files, tmp_path / "whole.ms")
    ours = columns(tmp_path / "some.ms")
    # Missing frequencies are counted from the slot's lowest, in steps of its width: rounding of 1.4e9 Hz.
    np.testing.assert_allclose(ours["freq_hz"], whole["freq_hz"], rtol=0, atol=1e-6)
    assert np.all(ours["DATA"][:, 8:16] == 0)
    assert np.all(ours["FLAG"][:, 8:16])
    np.testing.assert_array_equal(ours["DATA"][:, :8], whole["DATA"][:, :8])
    assert metrics["flag_fraction"] == pytest.approx(1 / 3)
    assert metrics["dead_antennas"] == {}
    assert metrics["rejected"] is None


def test_what_is_not_finite_or_zero_is_flagged_and_written_as_zero(tmp_path):
    files = raw_tile(tmp_path / "raw")
    with h5py.File(files[0], "r+") as file:
        first, second = file["Header/ant_1_array"][()], file["Header/ant_2_array"][()]
        rows = np.flatnonzero(first != second)
        odd = (np.nan, np.inf, complex(0, -np.inf), 0, 1e20, complex(3, -1e20))
        for name, row, value in (
            *(("visdata", row, value) for row, value in zip(rows, odd, strict=False)),
            ("nsamples", rows[6], 0),
            ("nsamples", rows[7], np.inf),
            ("nsamples", rows[8], np.nan),
        ):
            data = file[f"Data/{name}"]
            data[row, 0, 2, 0] = value
    _, ours = convert(files, tmp_path / "ours.ms")
    cross = ours["names"][:, 0] != ours["names"][:, 1]
    assert ours["FLAG"][cross].sum() == 9
    assert np.isfinite(ours["DATA"]).all()
    assert np.abs(ours["DATA"]).max() < 1e6


@pytest.mark.parametrize("broken", ["all_zero", "all_flagged"])
def test_an_unusable_tile_is_a_valid_set_all_flagged_with_its_reason(broken, tmp_path):
    from contimg.simulate.options import Fault

    files = raw_tile(tmp_path / "raw", faults=(Fault(broken, 0),))
    metrics, ours = convert(files, tmp_path / "ours.ms", options=FlaggingOptions())
    assert metrics["rejected"].startswith("no usable data")
    assert metrics["flag_fraction"] == 1.0
    assert ours["FLAG"].all()
    with tables.table(str(tmp_path / "ours.ms"), ack=False) as table:
        assert table.getcol("FLAG_ROW").all()


def test_the_set_says_itself_what_the_headers_said(tmp_path):
    files = sorted(REAL_SKY.glob(f"{SECOND_TILE}*"))
    metrics, _ = convert(files, tmp_path / "ours.ms")
    meta = read_meta(tmp_path / "ours.ms")
    assert meta.shape == (5, 378, 48, 2)
    loc = geometry.location(meta.longitude_deg, meta.latitude_deg, meta.height_m)
    middle_jd = 0.5 * (meta.times_jd[0] + meta.times_jd[-1])
    ra, dec = geometry.meridian_icrs(middle_jd, meta.pointing_dec_rad, loc)
    # a Julian date is good to 40 microseconds, in which the sky turns by 3e-9 rad
    np.testing.assert_allclose([meta.phase_ra_rad, meta.phase_dec_rad], [ra[0], dec[0]], atol=1e-8, rtol=0)
    with h5py.File(files[0]) as file:
        np.testing.assert_allclose(meta.antenna_positions_m, file["Header/antenna_positions"][()], atol=1e-8)
        assert meta.pointing_dec_rad == file["Header/phase_center_app_dec"][()]
    assert metrics["bytes_read"] == sum(path.stat().st_size for path in files)


def test_a_file_of_another_declination_is_refused_by_name(tmp_path):
    here = raw_tile(tmp_path / "here")
    there = raw_tile(tmp_path / "there", dec_deg=52.0, transit_of="bright")
    with pytest.raises(InputError, match="points to declination"):
        convert([here[0], there[1]], tmp_path / "out.ms")
    assert not Path(tmp_path / "out.ms").exists()


def test_subbands_that_overlap_are_refused(tmp_path):
    files = raw_tile(tmp_path / "raw")
    with pytest.raises(InputError, match="overlap in frequency"):
        convert([files[0], files[0]], tmp_path / "out.ms")


def test_each_file_is_rotated_from_where_it_says_that_it_is_stopped(tmp_path):
    """Within the tenth of a degree that the index takes for one pointing: a source's phases are the same."""
    alone = {"sources": (Source("bright", 130.0, 55.4, 8.8, -0.5),), "sefd_jy": 1e-3}
    here = raw_tile(tmp_path / "here", dec_deg=55.40, **alone)
    there = raw_tile(tmp_path / "there", dec_deg=55.45, **alone)
    centre = PhaseCentre("bright", 130.0, 55.4)
    _, expected = convert(here, tmp_path / "expected.ms", centre=centre)
    _, ours = convert([here[0], there[1]], tmp_path / "ours.ms", centre=centre)
    cross = ours["names"][:, 0] != ours["names"][:, 1]
    turned = np.angle(ours["DATA"] * np.conj(expected["DATA"]))[cross]
    # Noise of 1e-3 Jy over sqrt(2 x 30 kHz x 12.9 s) in 8.8 Jy; complex64.
    assert np.abs(turned).max() < 1e-5


def test_antennas_without_data_need_no_position_and_the_last_bits_of_others_may_differ(tmp_path):
    files = raw_tile(tmp_path / "raw")
    _, expected = convert(files, tmp_path / "expected.ms")
    for number, path in enumerate(files):
        with h5py.File(path, "r+") as file:
            header = file["Header"]
            unused = np.setdiff1d(header["antenna_numbers"][()], header["ant_1_array"][()])
            positions = header["antenna_positions"][()]
            positions[np.isin(header["antenna_numbers"][()], unused)] = np.nan
            header["antenna_positions"][...] = positions.astype(np.float32) if number else positions
            header["integration_time"][...] *= 1 + 1e-12 * number
    _, ours = convert(files, tmp_path / "ours.ms")
    # float32 of 1.5 km is right to 0.1 mm: 2 pi 1e-4 / 0.2 rad.
    assert np.abs(ours["DATA"] - expected["DATA"]).max() < 3e-3 * np.abs(expected["DATA"]).max()
    np.testing.assert_array_equal(ours["FLAG"], expected["FLAG"])
