"""The index on real little files: which tiles there are, and the fate of everything else."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from builders.uvh5_files import CHANNEL_HZ, INTEGRATION_S, LOWEST_HZ, mjd, stamp, write_tile, write_uvh5
from contimg.core.names import tile_name
from contimg.index import uvh5
from contimg.index.build import build_index
from contimg.index.cache import CACHE_VERSION, YOUNG_S
from contimg.index.tile import Index

START = mjd("2025-10-30T13:00:00")
STEP = 309.0 / 86400.0
REALSKY = Path(__file__).parents[2] / "data" / "realsky" / "incoming"


def index_of(folder, *, start=None, end=None, min_subbands=16, exclude=(), cache=None):
    return build_index(
        folder, start_mjd=start, end_mjd=end, min_subbands=min_subbands, exclude=exclude, cache=cache
    )


def only(entries):
    assert len(entries) == 1, entries
    return entries[0]


@pytest.fixture
def raw(tmp_path):
    """The folder of one complete tile; `files` in ascending frequency carry the labels 15 … 0."""
    return tmp_path / "incoming"


def test_a_tile_is_named_by_its_header_and_sorted_by_frequency(raw):
    # Named up to two minutes late and across midnight: the start is 23:59:59 of the day before.
    start = mjd("2025-10-30T23:59:59")
    late = [0, 1, 2, 3, 58, 59, 60, 61, 62, 90, 100, 110, 117, 118, 119, 120]
    labels = np.random.default_rng(2).permutation(16).tolist()
    files = write_tile(raw, start, labels=labels, late_s=late)
    found = index_of(raw)
    tile = only(found.tiles)
    assert found.left_out == ()
    assert tile.name == "2025-10-30T23:59:59"
    assert tile.files == tuple(str(path) for path in files)
    lows = [slot.freq_low_hz for slot in tile.slots]
    assert lows == [LOWEST_HZ + place * 2 * CHANNEL_HZ for place in range(16)]
    assert {(slot.n_channels, slot.channel_width_hz) for slot in tile.slots} == {(2, CHANNEL_HZ)}
    assert tile.notes == ()
    assert tile.bytes == sum(path.stat().st_size for path in files)
    # float64 JD: 40 us
    assert abs(tile.start_mjd - start) * 86400 < 1e-4
    assert abs(tile.mid_mjd - start - 1.5 * INTEGRATION_S / 86400) * 86400 < 1e-4
    assert (tile.n_times, tile.integration_s) == (3, INTEGRATION_S)
    assert tile.dec_deg == pytest.approx(54.6, abs=1e-12)
    assert (tile.longitude_deg, tile.latitude_deg, tile.height_m) == (-118.2834, 37.2334, 1188.0519)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("spw_axis", [True, False])
def test_the_order_of_channels_and_the_spw_axis_do_not_matter(raw, descending, spw_axis):
    files = write_tile(raw, START, descending=descending, spw_axis=spw_axis)
    tile = only(index_of(raw).tiles)
    assert tile.files == tuple(str(path) for path in files)
    assert tile.slots[0].freq_low_hz == LOWEST_HZ


def test_the_phase_centre_is_the_meridian_at_the_middle(raw):
    from contimg.telescope.geometry import hour_angle_dec, location

    write_tile(raw, START)
    tile = only(index_of(raw).tiles)
    place = location(tile.longitude_deg, tile.latitude_deg, tile.height_m)
    mid_jd = np.array([tile.mid_mjd + 2400000.5])
    ra, dec = np.radians([tile.ra_icrs_deg]), np.radians([tile.dec_icrs_deg])
    hour_angle, apparent = hour_angle_dec(ra, dec, mid_jd, place)
    # The MJD resolves 0.6 us and the JD 40 us: 6e-4 arcsec of hour angle, 3e-9 rad.
    assert abs(hour_angle[0, 0]) < 5e-9
    assert abs(apparent[0, 0] - np.radians(54.6)) < 1e-9


def test_the_search_is_recursive_and_takes_only_names_of_raw_files(raw):
    files = write_tile(raw / "2025" / "10-30", START)
    write_tile(raw / ".snapshot", START + STEP)
    (raw / "notes.hdf5").write_text("not a raw file")
    (raw / "2025-13-45T00:00:00_sb00.hdf5").write_text("no such date")
    (raw / "again").symlink_to(raw / "2025")
    (raw / "2025" / "loop").symlink_to(raw)
    found = index_of(raw)
    assert only(found.tiles).bytes == sum(path.stat().st_size for path in files)
    assert found.tiles[0].notes == ()
    assert found.left_out == ()


def test_names_with_a_fraction_of_the_second_are_understood(raw):
    for path in write_tile(raw, START):
        path.rename(path.with_name(path.name.replace(":00_", ":00.731_")))
    assert only(index_of(raw).tiles).name == "2025-10-30T13:00:00"


def test_an_empty_directory_has_no_tiles_and_a_missing_one_is_an_error(raw):
    raw.mkdir()
    assert index_of(raw) == Index((), ())
    with pytest.raises(uvh5.InputError, match="gone: no such directory; `incoming`"):
        index_of(raw / "gone")


# --- faults --------------------------------------------------------------------------------------


def test_a_missing_subband_is_named_with_its_frequency(raw):
    write_tile(raw, START)[3].unlink()  # the fourth from below, labelled 12 of 15 … 0
    found = index_of(raw)
    assert found.tiles == ()
    out = only(found.left_out)
    assert out.tile == "2025-10-30T13:00:00"
    assert out.reason == "15 of 16 subbands: missing sb12 (1312.71–1313.20 MHz)"
    assert len(out.files) == 15


def test_a_partial_tile_keeps_the_gap(raw):
    write_tile(raw, START)[3].unlink()
    tile = only(index_of(raw, min_subbands=15).tiles)
    assert [slot.path is None for slot in tile.slots] == [place == 3 for place in range(16)]
    assert tile.slots[3].freq_low_hz == pytest.approx(LOWEST_HZ + 6 * CHANNEL_HZ, abs=1e-3)
    assert tile.notes == ("missing sb12 (1312.71–1313.20 MHz): flagged",)
    out = only(index_of(raw, min_subbands=16).left_out)
    assert out.reason.startswith("15 of 16")


@pytest.mark.parametrize("gone", [0, 15])
def test_labels_place_a_subband_that_is_missing_at_an_end(raw, gone):
    write_tile(raw, START)[gone].unlink()
    tile = only(index_of(raw, min_subbands=12).tiles)
    assert [slot.path is None for slot in tile.slots] == [place == gone for place in range(16)]
    expected = LOWEST_HZ + np.arange(16) * 2 * CHANNEL_HZ
    np.testing.assert_allclose([slot.freq_low_hz for slot in tile.slots], expected, atol=1e-3, rtol=0)


def test_another_tile_places_a_subband_that_labels_cannot(raw):
    labels = [3, 0, 1, 2, *range(4, 16)]
    write_tile(raw, START, labels=labels)[0].unlink()
    alone = only(index_of(raw, min_subbands=12).tiles)
    assert len(alone.slots) == 15  # where the sixteenth was cannot be known
    assert alone.notes == ("missing 1 of unknown frequency (sb03): flagged",)
    assert only(index_of(raw).left_out).reason == "15 of 16 subbands: missing 1 of unknown frequency (sb03)"
    write_tile(raw, START + STEP, labels=labels)
    first, second = index_of(raw, min_subbands=12).tiles
    assert [slot.path is None for slot in first.slots] == [True] + [False] * 15
    assert first.notes == ("missing sb03 (1311.25–1311.74 MHz): flagged",)
    assert [slot.freq_low_hz for slot in first.slots] == [slot.freq_low_hz for slot in second.slots]


def test_a_small_instrument_is_not_padded_to_sixteen(raw):
    write_tile(raw, START, n_subbands=4)
    write_tile(raw, START + STEP, n_subbands=4)[1].unlink()
    full, partial = index_of(raw, min_subbands=3).tiles
    assert [slot.path is None for slot in full.slots] == [False] * 4
    assert [slot.path is None for slot in partial.slots] == [False, True, False, False]
    out = index_of(raw).left_out
    assert out[0].reason.startswith("4 of 16 subbands: missing sb15, sb14")
    assert len(out) == 2


def test_subbands_with_gaps_between_them_are_a_grid_too(raw):
    for place in (0, 1, 2, 4):
        write_uvh5(
            raw / f"2025-10-30T13:00:00_sb{place:02d}.hdf5", START, freq_low_hz=LOWEST_HZ + place * 5e6
        )
    tile = only(index_of(raw, min_subbands=4).tiles)
    assert [slot.path is None for slot in tile.slots] == [False, False, False, True, False]
    assert tile.slots[3].freq_low_hz == pytest.approx(LOWEST_HZ + 15e6, abs=1e-3)


def spoil(path, how):
    content = path.read_bytes()
    if how == "zero length":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(b"\x5a" * len(content))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("zero length", "zero length"),
        ("truncated", "truncated: "),
        ("garbage", "not an HDF5 file"),
    ],
)
def test_an_unreadable_file_is_a_missing_subband_with_its_reason(raw, how, says):
    bad = write_tile(raw, START)[3]
    write_tile(raw, START + STEP)
    spoil(bad, how)
    found = index_of(raw)
    assert only(found.tiles).name == tile_name(START + STEP)
    assert found.tiles[0].notes == ()
    out = only(found.left_out)
    assert out.reason.startswith(f"15 of 16 subbands: sb12 (1312.71–1313.20 MHz) cannot be read: {says}")
    assert bad.name in out.reason
    assert str(bad) in out.files
    tile = index_of(raw, min_subbands=15).tiles[0]
    assert tile.slots[3].path is None
    assert says in only(tile.notes)
    assert only(tile.notes).endswith(": flagged")


def test_an_unreadable_copy_of_a_good_subband_decides_nothing(raw):
    write_tile(raw, START)
    bad = raw / "2025-10-30T13:00:02_sb04.hdf5"
    bad.write_bytes(b"")
    tile = only(index_of(raw).tiles)
    assert str(bad) not in tile.files
    assert only(tile.notes) == f"sb04 cannot be read: zero length ({bad.name})"


def test_where_no_file_can_be_read_the_name_stands_for_the_tile(raw):
    for path in write_tile(raw, START, late_s=list(range(16))):
        path.write_bytes(b"")
    found = index_of(raw)
    assert found.tiles == ()
    out = only(found.left_out)
    assert out.tile == "2025-10-30T13:00:00"
    labels = ", ".join(f"sb{label:02d}" for label in range(16))
    assert out.reason == f"no usable file: {labels} cannot be read: zero length"
    assert len(out.files) == 16


def test_unreadable_tiles_between_short_ones_stay_apart(raw):
    # Tiles of 38.7 s: an unreadable file 38 s from a good tile is not that tile's.
    step = 3 * INTEGRATION_S / 86400
    write_tile(raw, START)
    for path in write_tile(raw, START + step):
        path.write_bytes(b"")
    write_tile(raw, START + 2 * step)
    found = index_of(raw)
    assert [tile.notes for tile in found.tiles] == [(), ()]
    assert only(found.left_out).tile == tile_name(START + step)


def test_a_file_still_being_written_is_ignored_but_told(raw):
    files = write_tile(raw, START)
    growing = files[3].rename(files[3].with_name(files[3].name.replace(".hdf5", "_incomplete.hdf5")))
    out = only(index_of(raw).left_out)
    assert out.reason == (
        f"15 of 16 subbands: sb12 (1312.71–1313.20 MHz) is still being written, or was never finished "
        f"({growing.name})"
    )
    shutil.copy(growing, files[3])
    tile = only(index_of(raw).tiles)
    assert tile.notes == (f"sb12 has a stale unfinished file beside the finished one ({growing.name})",)
    assert str(growing) not in tile.files


def test_a_tile_still_being_written_is_left_out(raw):
    for path in write_tile(raw, START):
        path.rename(path.with_name(path.name.replace(".hdf5", "_incomplete.hdf5")))
    out = only(index_of(raw).left_out)
    assert out.tile == "2025-10-30T13:00:00"
    assert out.reason.startswith("no usable file: sb00, sb01, ")
    assert out.reason.endswith(", sb15 is still being written, or was never finished")


def test_of_two_files_of_a_subband_the_name_nearest_to_the_header_wins(raw):
    files = write_tile(raw, START, late_s=1)
    later = raw / f"{stamp(START, 7)}_sb12.hdf5"
    shutil.copy(files[3], later)
    os.utime(files[3], (1, 1))  # which is the newer does not matter
    tile = only(index_of(raw).tiles)
    assert tile.files == tuple(str(path) for path in files)
    assert only(tile.notes) == f"sb12 twice: kept {files[3].name}, left {later.name}"
    marked = files[5].with_name(files[5].name.replace(".hdf5", "_2.hdf5"))
    shutil.copy(files[5], marked)
    tile = only(index_of(raw).tiles)
    assert tile.files == tuple(str(path) for path in files)
    assert f"sb10 twice: kept {files[5].name}, left {marked.name}" in tile.notes
    files[5].unlink()
    assert str(marked) in only(index_of(raw).tiles).files


def test_a_copy_under_another_label_is_a_duplicate_by_its_frequency(raw):
    files = write_tile(raw, START, n_subbands=15, labels=range(15))
    shutil.copy(files[2], raw / "2025-10-30T13:00:05_sb15.hdf5")
    out = only(index_of(raw).left_out)
    assert out.reason.startswith("15 of 16 subbands: missing sb15")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"dec_deg": 51.6}, "left out: declination 51.600 deg, the others' is 54.600"),
        ({"n_times": 2}, "left out: 2 integrations of 12.8849 s, 6 baselines"),
        ({"n_antennas": 2}, "left out: 3 integrations of 12.8849 s, 3 baselines"),
        ({"channel_hz": CHANNEL_HZ / 2}, "channels of 122.07 kHz"),
        ({"polarizations": (-5, -7, -8, -6)}, "polarisations XX, XY, YX, YY; the others hold"),
        ({"freq_low_hz": 703e6}, "left out: another band than the others'"),
        ({"freq_low_hz": LOWEST_HZ + 6.4 * CHANNEL_HZ}, "left out: another band than the others'"),
        ({"freq_low_hz": LOWEST_HZ + 600 * CHANNEL_HZ}, "left out: another band than the others'"),
    ],
)
def test_a_file_unlike_its_group_is_left_out_of_it(raw, how, says):
    odd = write_tile(raw, START)[3]
    write_uvh5(odd, START, **{"freq_low_hz": LOWEST_HZ + 6 * CHANNEL_HZ, **how})
    out = only(index_of(raw).left_out)
    assert out.reason.startswith("15 of 16 subbands: sb12 (1312.71–1313.20 MHz) left out: ")
    assert says in out.reason
    tile = only(index_of(raw, min_subbands=15).tiles)
    assert tile.slots[3].path is None
    assert len(tile.slots) == 16
    assert says in only(tile.notes)


def test_pointings_that_differ_by_less_than_a_tenth_of_a_degree_are_one(raw):
    files = write_tile(raw, START)
    write_uvh5(files[3], START, freq_low_hz=LOWEST_HZ + 6 * CHANNEL_HZ, dec_deg=54.68)
    tile = only(index_of(raw).tiles)
    assert len(tile.files) == 16
    assert tile.dec_deg == pytest.approx(54.6)


@pytest.mark.parametrize(
    ("late_s", "says"), [(0.2, r"\+0.2 s"), (INTEGRATION_S, r"\+12.88 s .* \(\+1 integrations\)")]
)
def test_a_subband_that_begins_at_another_instant_is_told_and_not_missing(raw, late_s, says):
    files = write_tile(raw, START)
    write_uvh5(files[3], START + late_s / 86400, freq_low_hz=LOWEST_HZ + 6 * CHANNEL_HZ)
    found = index_of(raw, min_subbands=1)
    tile = only(found.tiles)
    assert tile.slots[3].path is None
    assert found.left_out == ()
    assert re.search(rf"sb12 .* left out: its times are {says}", only(tile.notes))
    assert "missing" not in only(index_of(raw).left_out).reason


def test_the_same_subband_at_another_instant_is_a_group_of_its_own(raw):
    files = write_tile(raw, START)
    late = raw / f"{stamp(START, 1)}_sb12.hdf5"
    write_uvh5(late, START + 0.2 / 86400, freq_low_hz=LOWEST_HZ + 6 * CHANNEL_HZ)
    found = index_of(raw, min_subbands=1)
    assert only(found.tiles).files == tuple(map(str, files))
    out = only(found.left_out)
    assert out.files == (str(late),)
    assert out.reason.startswith("another group of more subbands has this name")


def test_times_that_differ_in_the_last_bit_are_one_tile(raw):
    for path in write_tile(raw, START)[::2]:
        with h5py.File(path, "r+") as file:
            times = file["Header/time_array"]
            times[...] = np.nextafter(times[()], np.inf)
    found = index_of(raw)
    assert len(only(found.tiles).files) == 16
    assert only(found.tiles).notes == ()


def test_a_spacing_that_is_not_the_integration_is_told(raw):
    for path in write_tile(raw, START):
        with h5py.File(path, "r+") as file:
            file["Header/integration_time"][...] = INTEGRATION_S / 4
    assert only(only(index_of(raw).tiles).notes) == "times are 12.885 s apart, integrations of 3.2212 s"


@pytest.mark.parametrize(("year", "says"), [(1970, "times cannot be right"), (2031, "Earth's rotation")])
def test_a_tile_of_a_lost_clock_is_left_out_alone(raw, year, says):
    write_tile(raw, START)
    write_tile(raw, mjd(f"{year}-01-01T00:00:00"))
    found = index_of(raw)
    assert only(found.tiles).name == tile_name(START)
    out = only(found.left_out)
    assert out.tile == f"{year}-01-01T00:00:00"
    assert says in out.reason


@pytest.mark.parametrize(
    "name", ["2025-10-30T13-00-00_sb{}.hdf5", "20251030T130000_sb{}.h5", "2025-10-30T13:00:00_sb{}.uvh5"]
)
def test_files_named_otherwise_are_told(raw, name):
    for place, path in enumerate(write_tile(raw, START)):
        path.rename(raw / name.format(f"{place:02d}"))
    found = index_of(raw)
    assert found.tiles == ()
    out = only(found.left_out)
    assert out.tile == "2025-10-30T13:00:00"
    assert len(out.files) == 16
    assert out.reason.startswith(
        f"named otherwise than raw files: {name.format('00')} and 15 more; a raw file is called"
    )
    assert index_of(raw, start=START + 1).left_out == ()


def test_hdf5_files_without_a_time_in_their_names_are_told_once(raw, caplog):
    write_tile(raw, START)[0].rename(raw / "sb00.hdf5")
    index_of(raw)
    index_of(raw)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert only(said).endswith(f"passed over: {raw / 'sb00.hdf5'}")


def test_a_spare_is_known_to_its_slot_and_makes_nothing_again(raw):
    files = write_tile(raw, START)
    alone = only(index_of(raw).tiles).slots[3].params()
    spare = raw / f"{stamp(START, 7)}_sb12.hdf5"
    shutil.copy(files[3], spare)
    slot = only(index_of(raw).tiles).slots[3]
    assert (slot.path, slot.spares) == (str(files[3]), (str(spare),))
    assert slot.params() == alone


def test_a_file_of_another_writer_is_taken_by_pyuvdata_or_left_out_as_asked(raw):
    files = write_tile(raw, START)
    with h5py.File(files[3], "r+") as file:
        values = file["Data/visdata"][()]
        whole = np.zeros(values.shape, dtype=[("r", "<i4"), ("i", "<i4")])
        whole["r"], whole["i"] = np.rint(1000 * values.real), np.rint(1000 * values.imag)
        del file["Data/visdata"]
        file["Data/visdata"] = whole
    tile = only(index_of(raw).tiles)
    assert [slot.reader for slot in tile.slots] == ["auto"] * 3 + ["pyuvdata"] + ["auto"] * 12
    assert (
        only(tile.notes)
        == "sb12: read by pyuvdata, slower: visibilities are pairs of int32, not complex numbers"
    )
    own = build_index(raw, start_mjd=None, end_mjd=None, min_subbands=16, reader="own")
    assert (
        "cannot be read: visibilities are pairs of int32, not complex numbers (raw.reader is own)"
        in only(own.left_out).reason
    )
    every = build_index(raw, start_mjd=None, end_mjd=None, min_subbands=16, reader="pyuvdata")
    assert {slot.reader for slot in only(every.tiles).slots} == {"pyuvdata"}


def test_a_name_that_could_not_be_found_by_its_time_is_left_out(raw):
    files = write_tile(raw, START)
    files[3].rename(raw / f"{stamp(START, 4000)}_sb12.hdf5")
    for start in (None, START - 1 / 86400):
        out = index_of(raw, start=start).left_out
        assert out[0].reason.startswith("15 of 16 subbands: missing sb12")
        assert "has a name +4000 s from the start in its header" in out[1].reason


def test_a_retuned_band_is_a_grid_of_its_own(raw):
    write_tile(raw, START)
    for place in range(16):
        path = raw / f"{stamp(START + STEP)}_sb{place:02d}.hdf5"
        write_uvh5(path, START + STEP, freq_low_hz=1.2e9 + place * 2 * CHANNEL_HZ)
    first, second = index_of(raw).tiles
    assert len(first.files) == len(second.files) == len(first.slots) == len(second.slots) == 16
    assert second.slots[0].freq_low_hz == 1.2e9


def test_two_strips_are_two_grids(raw):
    write_tile(raw, START, dec_deg=54.6)
    write_tile(raw, START + STEP, dec_deg=16.3, n_channels=4)
    assert [(t.dec_deg, t.slots[0].n_channels) for t in index_of(raw).tiles] == [
        (pytest.approx(54.6), 2),
        (pytest.approx(16.3), 4),
    ]


def test_tiles_are_excluded_by_name(raw):
    write_tile(raw, START)
    write_tile(raw, START + STEP)
    found = index_of(raw, exclude=[tile_name(START)])
    assert only(found.tiles).name == tile_name(START + STEP)
    assert (only(found.left_out).tile, only(found.left_out).reason) == (
        tile_name(START),
        "excluded by configuration",
    )


# --- ranges --------------------------------------------------------------------------------------


def test_a_range_holds_the_tiles_that_start_in_it_by_header(raw, monkeypatch):
    starts = [START + k * STEP for k in range(4)]
    for start in starts:
        write_tile(raw, start, n_subbands=2, late_s=100)  # by name, each starts 100 s late
    heads = [tile.start_mjd for tile in index_of(raw, min_subbands=2).tiles]
    inner = index_of(raw, start=heads[1], end=heads[3], min_subbands=2)
    assert [tile.start_mjd for tile in inner.tiles] == heads[1:3]  # [start, end)
    assert inner.left_out == ()
    opened = []
    real = uvh5.read_header
    monkeypatch.setattr(uvh5, "read_header", lambda path: opened.append(path) or real(path))
    index_of(raw, end=heads[1], min_subbands=2)
    assert not any(tile_name(starts[3])[:16] in Path(path).name for path in opened)


def test_what_a_tile_is_does_not_depend_on_the_range(raw):
    for k in range(5):
        files = write_tile(raw, START + k * STEP)
        files[k].unlink()
        files[k + 5].write_bytes(b"")
    every = index_of(raw, min_subbands=10)
    for tile in every.tiles:
        alone = index_of(raw, start=tile.start_mjd, end=tile.start_mjd + 1e-9, min_subbands=10)
        assert alone == Index((tile,), ())
    for out in index_of(raw).left_out:
        at = mjd(out.tile) - 0.5 / 86400
        assert index_of(raw, start=at, end=at + 1 / 86400).left_out == (out,)


# --- the cache -----------------------------------------------------------------------------------


@pytest.fixture
def opened(monkeypatch):
    """Names of the files whose headers were read since last cleared."""
    names = []
    real = uvh5.read_header
    monkeypatch.setattr(uvh5, "read_header", lambda path: names.append(Path(path).name) or real(path))
    return names


def age(path, seconds=2 * YOUNG_S):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_second_call_opens_nothing(raw, tmp_path, opened):
    write_tile(raw, START)
    bad = write_tile(raw, START + STEP)[0]
    bad.write_bytes(b"")
    age(bad)
    first = index_of(raw, cache=tmp_path / "cache")
    assert len(opened) == 32
    opened.clear()
    assert index_of(raw, cache=tmp_path / "cache") == first
    assert opened == []


def test_a_file_is_read_again_when_it_changes(raw, tmp_path, opened):
    files = write_tile(raw, START)
    cache = tmp_path / "cache"
    index_of(raw, cache=cache)
    opened.clear()
    write_uvh5(files[3], START, freq_low_hz=LOWEST_HZ + 6 * CHANNEL_HZ, dec_deg=10.0)
    assert "declination" in only(index_of(raw, cache=cache).left_out).reason
    assert opened == [files[3].name]
    opened.clear()
    # In place, the same size and the same time of modification: the time of change tells.
    info = files[3].stat()
    with h5py.File(files[3], "r+") as file:
        file["Header/phase_center_app_dec"][()] = np.radians(54.6)
        file["Header/extra_keywords/phase_center_dec"][()] = np.radians(54.6)
    os.utime(files[3], ns=(info.st_atime_ns, info.st_mtime_ns))
    assert files[3].stat().st_size == info.st_size
    assert only(index_of(raw, cache=cache).tiles).notes == ()
    assert opened == [files[3].name]


def test_files_that_appear_and_vanish_are_noticed(raw, tmp_path, opened):
    files = write_tile(raw, START)
    cache = tmp_path / "cache"
    content = files[3].read_bytes()
    files[3].unlink()
    assert only(index_of(raw, cache=cache).left_out).reason.startswith("15 of 16")
    files[3].write_bytes(content)
    opened.clear()
    assert len(only(index_of(raw, cache=cache).tiles).files) == 16
    assert opened == [files[3].name]
    files[4].unlink()
    assert only(index_of(raw, cache=cache).left_out).reason.startswith("15 of 16")
    write_tile(raw, START + STEP)
    assert only(index_of(raw, cache=cache).tiles).name == tile_name(START + STEP)
    kept = json.loads((cache / "2025-10-30.json").read_text())["files"]
    assert str(files[4]) not in kept
    assert len(kept) == 31


def test_an_interrupted_call_keeps_what_it_has_read(raw, tmp_path, monkeypatch):
    files = write_tile(raw, START)
    real, opened = uvh5.read_header, []

    def read(path):
        if len(opened) == 10:
            raise KeyboardInterrupt
        opened.append(path)
        return real(path)

    monkeypatch.setattr(uvh5, "read_header", read)
    with pytest.raises(KeyboardInterrupt):
        index_of(raw, cache=tmp_path / "cache")
    first = list(opened)
    opened.clear()
    assert len(only(index_of(raw, cache=tmp_path / "cache").tiles).files) == 16
    assert sorted(first + opened) == sorted(str(path) for path in files)


def test_a_growing_file_is_followed_until_it_is_whole(raw, tmp_path, opened):
    files = write_tile(raw, START)
    cache = tmp_path / "cache"
    content = files[3].read_bytes()
    for part in (0, 1000, len(content) // 2):
        files[3].write_bytes(content[:part])
        opened.clear()
        assert index_of(raw, cache=cache).tiles == ()
        assert index_of(raw, cache=cache).tiles == ()
        assert opened.count(files[3].name) == 2  # young and unreadable: looked at each time
    files[3].write_bytes(content)
    assert len(only(index_of(raw, cache=cache).tiles).files) == 16


def damaged(path, how):
    content = path.read_text()
    path.write_text(
        {
            "empty": "",
            "cut": content[: len(content) // 2],
            "not JSON": "\0\0\0",
            "another thing": "[1, 2, 3]",
            "another version": content.replace(f'"version":{CACHE_VERSION}', '"version":0'),
            "other fields": content.replace('"dec_rad"', '"dec_deg"'),
            "short entries": json.dumps(
                {**json.loads(content), "files": {p: [[1]] for p in json.loads(content)["files"]}}
            ),
            "wrong entries": json.dumps({**json.loads(content), "files": [], "centres": 3}),
        }[how]
    )


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "cut",
        "not JSON",
        "another thing",
        "another version",
        "other fields",
        "short entries",
        "wrong entries",
    ],
)
def test_a_cache_that_cannot_be_used_is_made_again(raw, tmp_path, opened, how):
    write_tile(raw, START, n_subbands=2)
    cache = tmp_path / "cache"
    first = index_of(raw, min_subbands=2, cache=cache)
    damaged(only(list(cache.iterdir())), how)
    opened.clear()
    assert index_of(raw, min_subbands=2, cache=cache) == first
    assert len(opened) == 2
    opened.clear()
    assert index_of(raw, min_subbands=2, cache=cache) == first
    assert opened == []


def test_a_cache_that_cannot_be_written_is_only_slow(raw, tmp_path, caplog):
    write_tile(raw, START, n_subbands=2)
    (tmp_path / "file").write_text("in the way")
    assert len(index_of(raw, min_subbands=2, cache=tmp_path / "file").tiles) == 1
    assert "cannot be written" in caplog.text


def test_writers_at_once_leave_a_cache_that_can_be_read(raw, tmp_path, opened):
    write_tile(raw, START, n_subbands=4)
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: index_of(raw, min_subbands=4, cache=cache), range(8)))
    assert all(entry == found[0] for entry in found)
    assert [path.name for path in cache.iterdir()] == ["2025-10-30.json"]
    opened.clear()
    assert index_of(raw, min_subbands=4, cache=cache) == found[0]
    assert opened == []


def test_a_warm_call_imports_neither_h5py_nor_astropy(raw, tmp_path):
    write_tile(raw, START, n_subbands=2)
    cache = tmp_path / "cache"
    index_of(raw, min_subbands=2, cache=cache)
    code = (
        "import sys; from pathlib import Path; from contimg.index.build import build_index\n"
        f"found = build_index(Path({str(raw)!r}), start_mjd=None, end_mjd=None, min_subbands=2, exclude=[],"
        f" cache=Path({str(cache)!r}))\n"
        "heavy = {'h5py', 'astropy', 'numpy', 'pandas', 'snakemake'} & set(sys.modules)\n"
        "print(len(found.tiles), sorted(heavy))"
    )
    scripts = Path(uvh5.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(scripts)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1 []\n"


def test_an_index_survives_json(raw):
    write_tile(raw, START)[3].unlink()
    write_tile(raw, START + STEP)[0].write_bytes(b"")
    for least in (15, 16):
        found = index_of(raw, min_subbands=least)
        assert Index.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_real_sky_is_two_tiles():
    found = index_of(REALSKY)
    assert found.left_out == ()
    assert [tile.name for tile in found.tiles] == ["1995-04-13T09:18:43", "1995-04-13T09:21:13"]
    for tile in found.tiles:
        assert len(tile.files) == 16
        assert tile.notes == ()
        assert (tile.n_times, tile.integration_s) == (5, 30.0)
        assert [slot.n_channels for slot in tile.slots] == [3] * 16
        steps = np.diff([slot.freq_low_hz for slot in tile.slots])
        np.testing.assert_allclose(steps, 3 * 24414.0625, rtol=1e-9)
    # 3C286 (RA 202.7845 deg) was made to transit in the middle of the first tile.
    assert found.tiles[0].ra_icrs_deg == pytest.approx(202.7845, abs=0.01)


def test_what_only_root_may_list_at_the_top_of_a_disk_stops_nothing(tmp_path):
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "2025-10-30T13:00:00_sb00.hdf5").write_text("nothing of ours")
    index = build_index(tmp_path, start_mjd=None, end_mjd=None, min_subbands=1)
    assert (index.tiles, index.left_out) == ((), ())


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("pipe", "is a pipe, not a file"),
        ("directory", "is a directory, not a file"),
        ("link to a device", "is a device, not a file"),
        ("link to nothing", "a link to nothing (/no/such)"),
        ("link round in a circle", "Too many levels of symbolic links"),
    ],
)
def test_what_has_the_name_of_a_raw_file_and_is_none_is_said(raw, what, says):
    odd = write_tile(raw, START)[3]
    odd.unlink()
    make = {
        "pipe": lambda: os.mkfifo(odd),
        "directory": odd.mkdir,
        "link to a device": lambda: odd.symlink_to("/dev/zero"),
        "link to nothing": lambda: odd.symlink_to("/no/such"),
        "link round in a circle": lambda: odd.symlink_to(odd.name),
    }
    make[what]()
    out = only(index_of(raw).left_out)
    assert out.reason.startswith("15 of 16 subbands: sb12 (1312.71–1313.20 MHz) cannot be read: ")
    assert says in out.reason
    assert odd.name in out.reason


def test_links_to_directories_that_lead_nowhere_stop_nothing_and_are_said(raw, caplog):
    write_tile(raw, START)
    (raw / "loop").symlink_to("loop")
    (raw / "night").symlink_to("/not/mounted")
    assert len(index_of(raw).tiles) == 1
    assert f"{raw / 'night'}: a link to nothing, passed over: is a disk not mounted?" in caplog.text
    assert f"{raw / 'loop'}: a link to nothing" in caplog.text


def alter_antennas(path, change):
    with h5py.File(path, "r+") as file:
        for name, values in change(file["Header"]).items():
            file[f"Header/{name}"][...] = values


@pytest.mark.parametrize(
    "change",
    [
        lambda header: {
            "antenna_positions": header["antenna_positions"][()] + [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
        },
        lambda header: {"antenna_names": header["antenna_names"][()][::-1]},
        lambda header: {"antenna_numbers": header["antenna_numbers"][()][::-1]},
    ],
    ids=["moved", "names", "numbers"],
)
def test_a_file_with_another_array_is_left_out(raw, change):
    alter_antennas(write_tile(raw, START)[3], change)
    out = only(index_of(raw).left_out)
    assert "left out: its antennas have other names, numbers or positions than the others'" in out.reason


def test_positions_in_single_precision_are_the_same_array(raw):
    # A kilometre in float32 is right to 6e-8 of it, 0.06 mm.
    files = write_tile(raw, START)
    for path in files:
        alter_antennas(
            path, lambda header: {"antenna_positions": header["antenna_positions"][()] * 123.456789}
        )
    alter_antennas(
        files[3], lambda header: {"antenna_positions": header["antenna_positions"][()].astype(np.float32)}
    )
    assert len(only(index_of(raw).tiles).files) == 16


def test_antennas_without_data_need_no_position_and_those_with_data_do(raw):
    for path in write_tile(raw, START):
        with h5py.File(path, "r+") as file:
            file["Header/Nants_data"][...] = 2
            file["Header/antenna_positions"][2] = np.nan
    assert len(only(index_of(raw).tiles).files) == 16
    for path in sorted(raw.iterdir()):
        alter_antennas(path, lambda header: {"antenna_positions": np.nan})
    assert "0 of 3 antennas have a finite position, 2 have data" in only(index_of(raw).left_out).reason


def test_a_path_with_braces_is_left_out_and_stops_nothing(raw):
    """Snakemake takes them for wildcards, and its whole plan fails."""
    write_tile(raw / "night {1}", START)
    write_tile(raw, START + STEP)
    found = index_of(raw)
    assert only(found.tiles).name == tile_name(START + STEP)
    assert (
        "its path has braces, which Snakemake takes for a wildcard: rename it" in only(found.left_out).reason
    )
