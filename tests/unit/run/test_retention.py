import os
from dataclasses import replace
from pathlib import Path

import pytest

from builders.tiles import strip_of_tiles
from contimg.config.model import Config
from contimg.config.retention import RetentionOptions
from contimg.core import names
from contimg.core.errors import SystemFault
from contimg.core.products import read_json, status, write_json
from contimg.index import retired
from contimg.index.tile import Index, LeftOut, Slot
from contimg.night.night import arrange
from contimg.run import retention
from contimg.sky.calibrators import Calibrator

SOURCE = Calibrator("A", 123.0, 55.1, 8.0, -0.5, "test")  # crosses in the third of three tiles
NOW = names.tile_mjd("2025-11-09T12:00:00")
ALL = RetentionOptions(raw_days=0, science_days=0, calibrators_days=0, calibrated_days=0)


@pytest.fixture
def made(tmp_path):
    """Three tiles with their raw files and Measurement Sets, all that was made of them, and its publication."""
    incoming, tree = tmp_path / "incoming", tmp_path / "products"
    incoming.mkdir()
    tiles = []
    for tile in strip_of_tiles(count=3):
        path = incoming / f"{tile.name}_sb00.hdf5"
        path.write_bytes(tile.name.encode())
        tiles.append(replace(tile, slots=(Slot(str(path), 1.31e9, 48, 244140.625),)))
    night = plan(tiles)
    for tile in tiles:
        (tree / names.science_ms(tile.name)).mkdir(parents=True)
        (tree / names.science_ms(tile.name) / "table.dat").write_text("rows")
        write_json(tree / names.image_dir(tile.name) / "status.json", status())
    for path in night.transits:
        write_json(tree / path / "status.json", status())
    for path, window in night.windows.items():
        write_json(
            tree / path / "status.json", status(inputs=[names.image_dir(tile) for tile in window.tiles])
        )
        found = names.product_of(path)
        write_json(tree / names.receipt(found.date, found.name), status())
    return tiles, incoming, tree


def plan(tiles, gone=retired.NOTHING, left_out=()):
    return arrange(Config(), Index(tuple(tiles), tuple(left_out)), [SOURCE], gone)


def held(made, options=ALL, now=NOW):
    """Why each thing stays, by kind and tile; None for what may go."""
    tiles, _, tree = made
    return {(item.kind, item.tile): item.held for item in retention.items(plan(tiles), tree, options, now)}


def test_what_is_published_and_old_enough_may_go(made):
    found = held(made)
    assert {kind for kind, _ in found} == {"raw", "science"}
    assert set(found.values()) == {None}


def test_by_default_nothing_ever_goes(made):
    assert all("null: never" in why for why in held(made, RetentionOptions()).values())


def test_age_counts_from_the_observation(made):
    options = RetentionOptions(raw_days=20, science_days=9)
    found = held(made, options)
    assert {why for (kind, _), why in found.items() if kind == "science"} == {None}
    assert {why for (kind, _), why in found.items() if kind == "raw"} == {"10.0 days old, kept for 20"}


def first_window(tree):
    return sorted(tree.glob("mosaics/*/*/status.json"))[0]


@pytest.mark.parametrize("how", ["no receipt", "rejected receipt", "made again", "not made"])
def test_a_mosaic_that_is_not_published_holds_its_tiles(made, how):
    tiles, _, tree = made
    mosaic = first_window(tree)
    found = names.product_of(str(mosaic.parent.relative_to(tree)))
    receipt = tree / names.receipt(found.date, found.name)
    expected = "is not published"
    if how == "no receipt":
        receipt.unlink()
    elif how == "rejected receipt":
        write_json(receipt, status("qa: rms 5, limit 3"))
        expected = "is not published (qa: rms 5, limit 3), and retention.rejected is keep"
    elif how == "made again":
        later = receipt.stat().st_mtime_ns + 10**9
        os.utime(mosaic, ns=(later, later))
        expected = "was made again since it was published"
    else:
        mosaic.unlink()
        expected = "is not made"
    window = plan(tiles).windows[found.path]
    for (_, tile), why in held(made).items():
        assert (why is not None) == (tile in window.tiles)
        assert why is None or expected in why
    if how == "rejected receipt":
        released = held(made, ALL.model_copy(update={"rejected": "release"}))
        assert set(released.values()) == {None}


def test_a_mosaic_of_another_run_holds_its_tiles_too(made):
    tiles, _, tree = made
    image = names.image_dir(tiles[1].name)
    write_json(tree / "mosaics" / "2025-10-30" / "cygnus" / "status.json", status(inputs=[image]))
    found = held(made)
    assert {tile for (_, tile), why in found.items() if why is not None} == {tiles[1].name}


def test_a_transit_without_caltables_holds_its_tile(made):
    tiles, _, tree = made
    (path,) = plan(tiles).transits
    (tree / path / "status.json").unlink()
    found = held(made)
    assert {tile for (_, tile), why in found.items() if why == f"{path} is not made"} == {tiles[2].name}


def test_a_rejected_image_is_kept_unless_released(made):
    tiles, _, tree = made
    write_json(tree / names.image_dir(tiles[0].name) / "status.json", status("no solution"))
    assert "is rejected" in held(made)[("raw", tiles[0].name)]
    assert held(made, ALL.model_copy(update={"rejected": "release"}))[("raw", tiles[0].name)] is None


def let_go(made, archive=None):
    tiles, incoming, tree = made
    by_name = {tile.name: tile for tile in tiles}
    for item in retention.items(plan(tiles), tree, ALL, NOW):
        retention.retire(item, by_name[item.tile], tree, incoming=incoming, archive=archive)


def test_the_plan_is_the_same_with_and_without_the_files(made):
    tiles, incoming, tree = made
    let_go(made)
    assert list(incoming.iterdir()) == []
    assert not list(tree.glob("ms/science/*/*"))
    index, gone = retired.merge(Index((), ()), retired.records(tree), tree)
    assert index.tiles == tuple(tiles)  # floats come back bit for bit
    before, after = plan(tiles), plan(index.tiles, gone)
    assert (after.windows, after.candidates, after.transits) == (
        before.windows,
        before.candidates,
        before.transits,
    )
    assert gone == retired.Retired(tuple(t.name for t in tiles), tuple(t.name for t in tiles))
    assert set(before.up_to_mosaics()) - set(after.up_to_mosaics()) == set(before.science_sets())
    assert after.science_sets() == []


def test_what_is_half_gone_counts_as_gone(made):
    tiles, incoming, tree = made
    two = (*tiles[0].slots, Slot(str(incoming / "second.hdf5"), 1.32e9, 48, 244140.625))
    whole = replace(tiles[0], slots=two)
    item = retention.Item("raw", whole.name, (), 0, None)
    retention.retire(item, whole, tree, incoming=incoming, archive=None)
    known = retired.records(tree)
    lost = LeftOut(whole.name, "1 of 16 subbands", ())
    for index in (Index((tiles[0],), ()), Index((), (lost,))):
        merged, gone = retired.merge(index, known, tree)
        assert merged == Index((whole,), ())
        assert gone.raw == (whole.name,)


def test_files_that_came_back_are_not_retired(made):
    tiles, _, tree = made
    let_go(made)
    (tree / names.science_ms(tiles[1].name)).mkdir()
    index, gone = retired.merge(Index((tiles[0],), ()), retired.records(tree), tree)
    assert len(index.tiles) == 3
    assert gone.raw == (tiles[1].name, tiles[2].name)
    assert gone.sets == (tiles[0].name, tiles[2].name)
    assert retention.forget(tiles[2].name, tree)
    assert not retention.forget(tiles[2].name, tree)
    assert len(retired.merge(Index((), ()), retired.records(tree), tree)[0].tiles) == 2


def test_records_of_a_range_only(made):
    tiles, _, tree = made
    let_go(made)
    found = retired.records(tree, tiles[1].start_mjd, tiles[2].start_mjd)
    assert list(found) == [tiles[1].name]
    merged, _ = retired.merge(Index((), ()), found, tree, exclude=[tiles[1].name])
    assert merged.tiles == ()


def test_an_archive_gets_the_same_bytes_and_a_bad_copy_keeps_the_original(made, tmp_path, monkeypatch):
    tiles, incoming, tree = made
    expected = {path.name: path.read_bytes() for path in incoming.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(
            "contimg.run.retention.shutil.copy2", lambda _source, target: Path(target).write_bytes(b"torn")
        )
        with pytest.raises(SystemFault, match="the copy differs"):
            let_go(made, archive=tmp_path / "archive")
    assert {path.name: path.read_bytes() for path in incoming.iterdir()} == expected
    let_go(made, archive=tmp_path / "archive")
    assert {path.name: path.read_bytes() for path in (tmp_path / "archive").iterdir()} == expected
    record = read_json(retired.path_of(tree, tiles[0].name[:10]))[tiles[0].name]
    assert record["raw"]["to"] == str(tmp_path / "archive")


def test_the_patterns_of_the_rules_leave_out_retired_tiles():
    import re

    gone = retired.Retired(("2025-10-30T12:00:00",), ())
    assert re.fullmatch(gone.made_from_raw, "2025-10-30T12:00:00") is None
    assert re.fullmatch(gone.made_from_raw, "2025-10-30T12:00:01")
    assert gone.made_from_sets == names.TILE_PATTERN
