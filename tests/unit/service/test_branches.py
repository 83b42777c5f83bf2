"""A batch's branch of the tree: upstream by links that the workflow takes for the products, and never written."""

import json
import os

import pytest

from builders import service_trees as trees
from builders.tiles import strip_of_tiles
from contimg.config.load import load
from contimg.core import names
from contimg.core.products import write_json
from contimg.index.tile import Index
from contimg.night.night import arrange
from contimg.service import branches, planning
from contimg.service.run import planned
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


def test_the_workflow_makes_only_what_a_change_touches(tmp_path):
    """The one test with the real Snakefile: a dry run in a branch with linked sets asks for images alone."""
    import subprocess
    import sys

    from contimg.core.provenance import REPOSITORY

    settings = trees.make(tmp_path, tiles=2, min_subbands=1)
    for number in (0, 1):
        tile = trees.tile(number)
        (settings.products / names.science_ms(tile)).mkdir(parents=True)
        write_json(settings.products / names.science_sidecar(tile), {"status": "ok", "reason": None})
    spec = {
        "kind": "image",
        "wanted": {path: trees.tile(number) for number, path in enumerate(trees.paths(0, 1))},
        "changed": {"imaging": {"robust": 0.25}},
        "selection": {},
        "extra": {},
    }
    tree = settings.products / "batches" / "1"
    request = {
        "config": settings.base,
        "spec": spec,
        "items": trees.paths(0, 1),
        "tree": str(tree),
        "branch": 1,
    }
    config, items = planned(request)
    configfile = tmp_path / "config.json"
    write_json(configfile, config.model_dump(mode="json"))
    graph = tmp_path / "graph.json"
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "progress", "--snakefile"]
    command += [str(REPOSITORY / "Snakefile"), "--configfile", str(configfile), "--"]
    command += [target for item in items for target in item["targets"]]
    done = subprocess.run(
        command,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "CONTIMG_GRAPH": str(graph)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    jobs = json.loads(graph.read_text())
    assert {(job["rule"], job["todo"]) for job in jobs} == {("convert_tile", False), ("image_tile", True)}
    assert config.products == tree


def test_kinds_that_the_workflow_cannot_do_say_why(tmp_path):
    (tmp_path / "a.smk").write_text("rule photometry_mosaic:\n    input: []\n")
    assert planning.has_rule("photometry_mosaic", tmp_path)
    assert not planning.has_rule("photometry", tmp_path)
    assert planning.missing("image") is None
