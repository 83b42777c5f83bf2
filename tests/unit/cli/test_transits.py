import itertools
from dataclasses import replace

import pytest

from builders.tiles import strip_of_tiles
from contimg.cli.main import main
from contimg.cli.transits import made, passages, table
from contimg.core import names
from contimg.core.products import status, write_json
from contimg.index.retired import merge
from contimg.index.tile import Index, LeftOut, Slot
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions

SOURCE = Calibrator("A", 121.0, 55.1, 8.0, -0.5, "test")
DAY = names.tile_mjd("2025-10-30T00:00:00")


def listed(index, **range_mjd):
    wanted = {"start_mjd": None, "end_mjd": None, **range_mjd}
    return passages(index, SOURCE, **wanted, window_minutes=60.0, beam=BeamOptions())


def test_every_sidereal_day_has_its_transit_with_or_without_data():
    tiles = strip_of_tiles(count=12)
    found = listed(Index(tuple(tiles), ()), start_mjd=DAY - 1, end_mjd=DAY + 2)
    assert [passage.tile is not None for passage in found] == [False, True, False]
    assert [passage.lacking for passage in found] == ["no files", None, "no files"]
    steps = [later.mjd - earlier.mjd for earlier, later in itertools.pairwise(found)]
    assert steps == pytest.approx([names.SIDEREAL_DAY] * 2, abs=1e-6)


def test_a_transit_knows_its_tile_its_beam_and_the_tiles_of_its_window():
    tiles = strip_of_tiles(count=24)
    (passage,) = listed(Index(tuple(tiles), ()))
    # the strip starts at 120 degrees and drifts by 1.292 degrees a tile: 121 is in the first
    assert passage.tile == tiles[0]
    assert passage.dec_offset_deg == pytest.approx(0.0, abs=1e-9)
    assert passage.beam == pytest.approx(1.0)
    # half an hour after the transit, 4 minutes into the strip: middles at 2.6, 7.7 … up to 34 minutes
    assert passage.tiles == 7


def test_missing_subbands_are_named(tmp_path):
    whole = strip_of_tiles(count=1)[0]
    slots = (whole.slots[0], Slot(None, 1.32e9, 48, 244140.625))
    (passage,) = listed(Index((replace(whole, slots=slots),), ()))
    assert passage.missing == (1,)
    assert "1/2" in table([passage], SOURCE, products=tmp_path)[1]
    assert table([passage], SOURCE, products=tmp_path)[1].endswith("lacks sb01")


def test_a_transit_whose_files_are_retired_says_so_and_is_no_gap(tmp_path):
    whole = strip_of_tiles(count=1)[0]
    record = {"tile": Index((whole,), ()).to_json()["tiles"][0], "raw": "2025-12-01", "science": "2025-12-02"}
    index, gone = merge(Index((), ()), {whole.name: record}, tmp_path)
    (passage,) = listed(index)
    assert passage.tile == whole
    line = table([passage], SOURCE, tmp_path, gone)[1]
    assert line.endswith("raw files retired; Measurement Set retired")
    (tmp_path / names.science_ms(whole.name)).mkdir(parents=True)
    line = table([passage], SOURCE, tmp_path, merge(Index((), ()), {whole.name: record}, tmp_path)[1])[1]
    assert line.endswith("raw files retired")


def test_a_group_that_was_left_out_says_why_there_is_no_transit():
    tiles = strip_of_tiles(count=12)
    lost = LeftOut(tiles[0].name, "subband 3 is missing", ())
    (passage,) = listed(Index(tuple(tiles[1:]), (lost,)), start_mjd=DAY, end_mjd=DAY + 1)
    assert passage.tile is None
    assert passage.lacking == f"{tiles[0].name} left out: subband 3 is missing"


def test_what_has_been_made_is_read_from_the_products(tmp_path):
    (passage,) = listed(Index(tuple(strip_of_tiles(count=2)), ()))
    write_json(tmp_path / names.caltable_dir(passage.tile.name, "A") / "status.json", status())
    write_json(tmp_path / names.image_dir(passage.tile.name) / "status.json", status("all flagged"))
    assert made(passage, "A", tmp_path) == ["caltable ok", "image rejected"]


def test_the_command_lists_the_transits_of_a_range_and_refuses_an_unknown_calibrator(tmp_path, capsys):
    incoming, products = tmp_path / "incoming", tmp_path / "products"
    incoming.mkdir()
    pairs = ["--config", f"incoming={incoming}", f"products={products}"]
    assert main(["transits", "--calibrator", "0834+555", *pairs]) == 0
    assert "0 transits of 0834+555, 0 with a tile" in capsys.readouterr().out
    assert main(["transits", "--calibrator", "nobody", *pairs]) == 2
    assert "nobody" in capsys.readouterr().err
    assert main(["transits", *pairs]) == 2
    assert "--calibrator: found nothing" in capsys.readouterr().err
