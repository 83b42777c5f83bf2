"""Reading raw files: values, streaming, and what is said of damaged ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from builders.uvh5_files import CHANNEL_HZ, INTEGRATION_S, LOWEST_HZ, mjd, visibilities, write_uvh5
from contimg.core.errors import InputError
from contimg.index import raw as raw_reader
from contimg.index.hdf5 import TransientInputError
from contimg.index.uvh5 import open_data, read_header, read_layout, read_times
from contimg.index.uvh5_file import DATA_NAMES, HEADER_NAMES, NotOurs

START = mjd("2025-10-30T13:00:00")
REALSKY = Path(__file__).parents[2] / "data" / "realsky" / "incoming"


@pytest.fixture
def raw(tmp_path):
    return write_uvh5(tmp_path / "2025-10-30T13:00:01_sb00.hdf5", START)


def edit(path, name, value):
    """Replace or, with None, remove a dataset."""
    with h5py.File(path, "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize("spw_axis", [True, False])
@pytest.mark.parametrize("descending", [True, False])
def test_a_header_is_what_was_written(tmp_path, spw_axis, descending):
    path = write_uvh5(tmp_path / "a.hdf5", START, spw_axis=spw_axis, descending=descending, n_channels=4)
    header = read_header(path)
    top = LOWEST_HZ + 3 * CHANNEL_HZ
    assert (header.freq_first_hz, header.freq_last_hz) == (
        (top, LOWEST_HZ) if descending else (LOWEST_HZ, top)
    )
    assert header.freq_low_hz == LOWEST_HZ
    # A JD in float64 resolves 40 us, and the start is one subtraction away from it.
    assert abs(header.start_mjd - START) * 86400 < 1e-4
    with h5py.File(path) as file:
        assert header.time0_jd == file["Header/time_array"][0]  # bit for bit
        assert header.time_last_jd == file["Header/time_array"][-1]
    assert (header.n_times, header.n_baselines, header.n_channels) == (3, 6, 4)
    assert header.integration_s == INTEGRATION_S
    assert header.dec_rad == np.radians(54.6)
    assert header.polarizations == (-5, -6)
    assert (header.longitude_deg, header.latitude_deg, header.height_m) == (-118.2834, 37.2334, 1188.0519)
    assert (header.size_bytes, header.mtime_ns) == (path.stat().st_size, path.stat().st_mtime_ns)


def test_the_layout_has_names_that_are_not_numbers(raw):
    layout = read_layout(raw)
    assert layout.antenna_names == ["1", "2", "3"]
    assert layout.antenna_numbers.tolist() == [0, 1, 2]
    assert layout.ant1.tolist() == [0, 0, 0, 1, 1, 2]
    assert layout.ant2.tolist() == [0, 1, 2, 1, 2, 2]
    assert layout.telescope_name == "OVRO_MMA"
    assert layout.antenna_positions_m.shape == (3, 3)
    assert np.diff(layout.times_jd) * 86400 == pytest.approx(INTEGRATION_S, abs=1e-4)  # JD resolves 40 us
    assert layout.freq_hz.tolist() == [LOWEST_HZ + CHANNEL_HZ, LOWEST_HZ]


@pytest.mark.parametrize("spw_axis", [True, False])
@pytest.mark.parametrize("chunks", [None, True])
def test_data_come_back_in_the_order_of_the_file(tmp_path, spw_axis, chunks):
    path = write_uvh5(tmp_path / "a.hdf5", START, n_times=5, spw_axis=spw_axis, chunks=chunks, seed=3)
    truth = visibilities(5, 6, 2, 2, seed=3)
    with open_data(path) as handle:
        vis, flags, nsamples = read_times(handle, 1, 4)
        assert vis.dtype == np.complex64
        assert flags.dtype == np.bool_
        assert nsamples.dtype == np.float32
        np.testing.assert_array_equal(vis, truth[1:4])
        assert flags.shape == nsamples.shape == vis.shape
        assert not flags.any()
        assert (nsamples == 1).all()
        assert read_times(handle, 2, 2)[0].shape == (0, 6, 2, 2)
        with pytest.raises(ValueError, match="3:6 asked for, the file has 5"):
            read_times(handle, 3, 6)


def test_streaming_in_time_reads_each_byte_once(tmp_path):
    # A row of chunks is 9.3 MB, more than HDF5 caches by itself (8 MB), and holds 30.3 integrations.
    path = write_uvh5(
        tmp_path / "a.hdf5", START, n_times=60, n_antennas=24, n_channels=64, chunks=(9100, 1, 4, 1)
    )

    def bytes_read():
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    with open_data(path) as handle:
        before = bytes_read()
        for t in range(60):
            read_times(handle, t, t + 1)
        read = bytes_read() - before
    # The data sets fill nearly all of the file; the index of their chunks (and this counter) is the rest.
    assert read < 1.05 * path.stat().st_size


def damage(path, how):
    content = path.read_bytes()
    if how == "zero":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif how == "garbage":
        path.write_bytes(np.random.default_rng(1).bytes(len(content)))
    elif how == "garbled inside":
        path.write_bytes(content[:96] + np.random.default_rng(1).bytes(len(content) - 96))


@pytest.mark.parametrize("read", [read_header, read_layout, open_data])
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("zero", "zero length"),
        ("truncated", r"truncated: \d+ of \d+ bytes"),
        ("garbage", "not an HDF5 file"),
        ("garbled inside", "damaged|not a UVH5 file"),
    ],
)
def test_a_damaged_file_is_refused_with_the_reason(raw, read, how, says):
    damage(raw, how)
    with pytest.raises(InputError, match=f"^{raw}: .*({says}).*; ") as caught:
        read(raw)
    assert "\n" not in str(caught.value)


def test_random_damage_never_gives_anything_but_an_input_error(raw):
    content = np.frombuffer(raw.read_bytes(), dtype=np.uint8)
    rng = np.random.default_rng(5)
    said = []
    for _ in range(300):
        spoilt = content.copy()
        # Bytes near the start hold the structure of the file.
        spoilt[rng.integers(0, 4096, 12)] = rng.integers(0, 256, 12)
        raw.write_bytes(spoilt.tobytes())
        try:
            read_header(raw)
        except InputError as error:
            said.append(str(error))
    assert len(said) > 100
    assert all(line.startswith(f"{raw}: ") for line in said)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("Header/time_array", None, "no Header/time_array"),
        ("Data/flags", None, "no Data/flags"),
        ("Header/Nblts", 17, "Nblts = 17"),
        ("Header/Nfreqs", 3, "Data/visdata has shape .* the header says"),
        ("Header/Ntimes", 0, "Header/Ntimes = 0"),
        ("Header/channel_width", 1000.0, "not evenly spaced"),
        ("Header/freq_array", [[np.nan, 1.0]], "positive and finite"),
        ("Header/phase_center_app_dec", 2.0, "no declination"),
        ("Header/phase_center_app_dec", 0.5, "stated twice and differently"),
        ("Header/extra_keywords/ha_phase_center", 0.1, "only the meridian"),
        ("Header/integration_time", np.zeros(18), "times cannot be right"),
        ("Header/integration_time", np.zeros(17), r"Header/integration_time has shape \(17,\)"),
        ("Header/latitude", 100.0, "site cannot be right"),
        ("Header/polarization_array", [-5], "Npols is 2"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(raw, name, value, says):
    edit(raw, name, value)
    with pytest.raises(InputError, match=says):
        read_header(raw)


def test_data_that_were_never_written_are_refused(raw):
    with h5py.File(raw, "r+") as file:
        del file["Data/visdata"]
        file["Data"].create_dataset("visdata", (18, 1, 2, 2), np.complex64)
    with pytest.raises(InputError, match="Data/visdata was never written"):
        read_header(raw)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_chunks_that_were_never_written_are_refused(tmp_path, compression):
    path = write_uvh5(tmp_path / "a.hdf5", START, n_times=200, n_antennas=8)
    shape = (200 * 36, 1, 2, 2)
    with h5py.File(path, "r+") as file:
        del file["Data/visdata"]
        half = file["Data"].create_dataset(
            "visdata", shape, np.complex64, chunks=(900, 1, 2, 2), compression=compression
        )
        half[:3600] = 1
    with h5py.File(path) as source, h5py.File(tmp_path / "b.hdf5", "w") as file:
        for name in source:  # copied, so that the space of what was deleted is gone
            source.copy(name, file)
    with pytest.raises(InputError, match=r"part of the data was never written|4 of 8 chunks"):
        read_header(tmp_path / "b.hdf5")


def test_flags_that_were_never_written_read_as_good(raw):
    with h5py.File(raw, "r+") as file:
        del file["Data/flags"]
        file["Data"].create_dataset("flags", (18, 1, 2, 2), bool)
    read_header(raw)
    with open_data(raw) as handle:
        assert not read_times(handle, 0, 3)[1].any()


def test_rows_out_of_order_are_refused(raw):
    with h5py.File(raw) as file:
        ant2 = file["Header/ant_2_array"][()]
        times = file["Header/time_array"][()]
    ant2[7], ant2[8] = ant2[8], ant2[7]
    edit(raw, "Header/ant_2_array", ant2)
    with pytest.raises(NotOurs, match=r"same baselines each time \(Header/ant_2_array varies"):
        read_layout(raw)
    edit(raw, "Header/ant_2_array", np.tile(ant2[:6], 3))
    edit(raw, "Header/time_array", np.repeat(times[[0, 12, 6]], 6))
    with pytest.raises(NotOurs, match="times do not increase"):
        read_layout(raw)


def test_a_baseline_of_an_unknown_antenna_is_refused(raw):
    edit(raw, "Header/antenna_numbers", [0, 1, 7])
    with pytest.raises(InputError, match="antenna number 2"):
        read_layout(raw)


def test_a_missing_file_is_told_from_a_bad_one(tmp_path):
    with pytest.raises(TransientInputError, match="No such file"):
        read_header(tmp_path / "gone.hdf5")


def test_real_data_of_another_array_are_read_as_their_headers_say():
    for path in sorted(REALSKY.glob("*.hdf5"))[::5]:
        header, layout = read_header(path), read_layout(path)
        assert (header.n_times, header.n_channels, header.integration_s) == (5, 3, 30.0)
        assert header.n_baselines == layout.ant1.size == 27 * 28 // 2
        assert len(layout.antenna_names) == 28
        assert layout.antenna_names == [str(number + 1) for number in layout.antenna_numbers]
        with open_data(path) as handle:
            vis, _, nsamples = read_times(handle, 0, 5)
        cross = layout.ant1 != layout.ant2
        # 3C286 is a point of 13-15 Jy here, in the units of the correlator after the VLA's calibration.
        assert np.isfinite(vis).all()
        assert np.median(np.abs(vis[:, cross])) > 0
        assert nsamples.max() == 1


# --- every dataset of a file, made something else ------------------------------------------------

KINDS = {
    "nothing": lambda was: None,
    "a group": lambda was: "group",
    "empty": lambda was: np.zeros(0),
    "text": lambda was: np.full(was.shape, b"north"),
    "a number": lambda was: 5.0,
    "NaN": lambda was: np.full(was.shape, np.nan),
    "huge": lambda was: np.full(was.shape, 1e300),
    "negative": lambda was: np.full(was.shape, -7),
    "pairs": lambda was: np.zeros(was.shape, dtype=[("r", "<i4"), ("i", "<i4")]),
    "no dataspace": lambda was: h5py.Empty("f8"),
    "twice as long": lambda was: np.concatenate([np.atleast_1d(was)] * 2),
    "an axis more": lambda was: was[..., np.newaxis],
}
DATASETS = [
    *sorted(HEADER_NAMES),
    "uvw_array",
    "antenna_diameters",
    "extra_keywords/phase_center_dec",
    *DATA_NAMES,
]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("name", DATASETS)
def test_whatever_a_dataset_is_a_file_is_read_or_refused_in_one_line(raw, name):
    where = f"Data/{name}" if name in DATA_NAMES else f"Header/{name}"
    whole, said = raw.read_bytes(), {}
    for what, change in KINDS.items():
        raw.write_bytes(whole)
        with h5py.File(raw, "r+") as file:
            was = np.asarray(file[where][()])
            del file[where]
            value = change(was)
            if isinstance(value, str):
                file.create_group(where)
            elif value is not None:
                file[where] = value
        try:
            raw_reader.read_header(raw)
            layout = raw_reader.read_layout(raw)
            with raw_reader.open_data(raw, layout) as data:
                data.read_times(0, 1)
        except InputError as error:
            said[what] = str(error)
    assert {
        what: line for what, line in said.items() if "\n" in line or not line.startswith(f"{raw}: ")
    } == {}
    assert said or name in ("telescope_name", "uvw_array", "antenna_diameters"), name


def test_a_length_that_is_none_in_the_middle_of_a_tile_is_refused(raw):
    edit(raw, "Header/integration_time", np.repeat([INTEGRATION_S, 0.0, INTEGRATION_S], 6))
    with pytest.raises(InputError, match="integration_time is 0"):
        read_layout(raw)
