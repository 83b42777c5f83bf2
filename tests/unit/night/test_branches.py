"""A branch of the tree: upstream by links that the workflow takes for the products, and never written."""

import pytest

from builders.tiles import strip_of_tiles
from contimg.config.load import load
from contimg.core import names
from contimg.core.products import write_json
from contimg.index.tile import Index
from contimg.night import branches
from contimg.night.night import arrange
from contimg.sky.calibrators import Calibrator


@pytest.mark.parametrize(
    ("changed", "stage"),
    [
        ({}, "none"),
        ({"imaging": {"robust": 0}}, "image"),
        ({"imaging": {"robust": 0}, "flagging": {"aoflagger": False}}, "convert"),
        ({"calibration": {"refant": "103"}}, "calibrate"),
        ({"calibration": {"tables": ["cal/x"]}}, "image"),
        ({"mosaic": {"method": "mean"}}, "mosaic"),
        ({"ese": {"min_sigma": 4}}, "ese"),
    ],
)
def test_the_first_stage_that_changes_touch(changed, stage):
    stages = [*branches.STAGES, "none"]
    assert stages[branches.first_stage(changed)] == stage


@pytest.fixture
def night(tmp_path):
    """A night of four tiles with one transit, and its finished products."""
    tiles = strip_of_tiles(count=4)
    source = Calibrator("A", tiles[1].ra_icrs_deg, 55.0, 5.0, -0.7, "test")
    found = arrange(load({}, check=False), Index(tuple(tiles), ()), [source])
    main = tmp_path / "main"
    for sidecar, paths in branches.upstream(found, len(branches.STAGES)):
        for path in paths:
            if not path.endswith((".json", ".parquet", ".html")):
                (main / path).mkdir(parents=True, exist_ok=True)
        for path in {*paths, sidecar}:
            if path.endswith((".json", ".parquet", ".html")) and not (main / path).exists():
                write_json(main / path, {"status": "ok", "reason": None})
    return main, tmp_path / "branch", found


def made(tree):
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_symlink())


def test_what_stands_above_is_linked_with_its_time_and_nothing_below(night):
    main, branch, found = night
    count = branches.link(main, branch, found, {"imaging": {"robust": 0}})
    links = made(branch)
    assert {path.split("/")[0] for path in links} == {"ms", "cal"}
    assert len([path for path in links if path.startswith("ms/science") and path.endswith(".ms")]) == 4
    for path in links:
        assert (branch / path).readlink() == main / path
        assert (branch / path).lstat().st_mtime_ns == (main / path).stat().st_mtime_ns
    assert (
        branches.link(main, branch, found, {"imaging": {"robust": 0}}) == count == 5
    )  # four tiles, one transit
    branches.link(main, branch / "mosaics_too", found, {"mosaic": {"method": "mean"}})
    assert {path.split("/")[0] for path in made(branch / "mosaics_too")} == {"ms", "cal", "images", "qa"}


def test_what_is_not_finished_is_not_linked(night):
    main, branch, found = night
    tile = found.selected[0]
    (main / names.science_sidecar(tile)).unlink()
    branches.link(main, branch, found, {"imaging": {"robust": 0}})
    assert names.science_ms(tile) not in made(branch)


def test_what_the_branch_made_itself_stays(night):
    main, branch, found = night
    tile = found.selected[0]
    (branch / names.science_ms(tile)).mkdir(parents=True)
    branches.link(main, branch, found, {"imaging": {"robust": 0}})
    assert (branch / names.science_ms(tile)).is_dir()
    assert not (branch / names.science_ms(tile)).is_symlink()
