"""What a batch means to the workflow."""

import json
import os
import subprocess
import sys

from builders import service_trees as trees
from contimg.core import names
from contimg.core.products import write_json
from contimg.core.provenance import REPOSITORY
from contimg.service import planning
from contimg.service.run import planned


def test_the_workflow_makes_only_what_a_change_touches(tmp_path):
    """The one test with the real Snakefile: a dry run in a branch with linked sets asks for images alone."""
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
