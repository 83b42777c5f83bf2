"""A healthy file beside a damaged one of the same subband is read in its place."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from casacore import tables

from builders.damage import damage_chunk
from builders.raw_tiles import raw_tile
from contimg.convert.job import ConvertTile
from contimg.convert.options import FlaggingOptions
from contimg.core.errors import InputError
from contimg.core.products import read_json, write_json
from contimg.index.build import build_index
from contimg.index.spares import replaced
from contimg.index.tile import Index, Slot
from contimg.jobs.orphans import MANIFEST_VARIABLE
from contimg.jobs.scratch import Scratch


@pytest.fixture
def tile(tmp_path, monkeypatch):
    """A tile as the index knows it, one file damaged with a healthy copy beside it; these two; and the set without."""
    files = raw_tile(tmp_path / "raw")
    job, whole, _ = convert(tile_of(tmp_path), tmp_path / "whole")
    job.make()
    later = f"{files[0].name[:17]}{int(files[0].name[17:19]) + 1:02d}{files[0].name[19:]}"
    spare = Path(shutil.copy(files[0], files[0].with_name(later)))
    damage_chunk(files[0])
    found = tile_of(tmp_path)
    assert str(spare) in {path for slot in found.slots for path in slot.spares}
    monkeypatch.setenv(MANIFEST_VARIABLE, str(tmp_path / "run.json"))
    write_json(tmp_path / "run.json", {"index": Index((found,), ()).to_json()})
    return found, files[0], spare, whole


def tile_of(folder):
    (found,) = build_index(folder / "raw", start_mjd=None, end_mjd=None, min_subbands=2).tiles
    return found


def convert(tile, folder):
    """Convert from what a rule's parameters say: they know no spares. The job; its Measurement Set and sidecar."""
    slots = tuple(Slot(**slot.params()) for slot in tile.slots)
    folder.mkdir()
    options = FlaggingOptions(aoflagger=False)
    out = str(folder / "tile.ms"), str(folder / "tile.json")
    job = ConvertTile(tile.name, slots, *out, options, Scratch(None, folder, "disk", need_bytes=0), 1)
    return job, *map(Path, out)


def data_of(ms):
    with tables.table(str(ms), ack=False) as table:
        return table.getcol("DATA"), table.getcol("FLAG")


def test_the_spare_of_a_damaged_file_gives_the_same_set_and_is_said(tile, tmp_path):
    found, damaged, spare, whole = tile
    job, ms, sidecar = convert(found, tmp_path / "made")
    assert f"spares read for {damaged.name}" in job.make()
    for ours, theirs in zip(data_of(ms), data_of(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    record = read_json(sidecar)
    assert str(spare) in record["inputs"]
    assert str(damaged) not in record["inputs"]
    assert list(record["metrics"]["damaged_files"]) == [str(damaged)]
    assert {str(damaged), str(spare)} <= record[
        "raw"
    ].keys()  # when the damaged one is repaired, it is noticed


def test_without_a_healthy_spare_the_error_names_the_file(tile, tmp_path):
    found, damaged, spare, _ = tile
    spare.unlink()
    shutil.copy(damaged, spare)
    with pytest.raises(InputError, match=rf"^{spare}: damaged HDF5"):
        convert(found, tmp_path / "made")[0].make()


def test_spares_are_taken_one_after_the_other():
    slots = (Slot(None, 1.0, 2, 1.0), Slot("a", 2.0, 2, 1.0))
    known = {"a": ("b", "c")}
    second = replaced(slots, "a", known)
    assert second == (slots[0], replace(slots[1], path="b", spares=("c",)))
    third = replaced(second, "b", known)
    assert third == (slots[0], replace(slots[1], path="c"))
    assert replaced(third, "c", known) is None
