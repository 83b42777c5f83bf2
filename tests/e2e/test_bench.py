"""`make bench` on a tiny tile: conversion and its floor, measured through the workflow."""

import json
import subprocess
import sys
from pathlib import Path

CLONE = Path(__file__).parents[2]


def test_a_stage_is_measured_through_the_workflow_beside_its_floor(tmp_path):
    command = [sys.executable, CLONE / "benchmarks" / "bench.py", "--preset", "tiny", "--stages", "convert"]
    command += [
        "--rivals",
        "0",
        "--threads",
        "2",
        "--folder",
        tmp_path / "bench",
        "--results",
        tmp_path / "results",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [path] = (tmp_path / "results").glob("*.json")
    found = json.loads(path.read_text())
    rows = {row["what"]: row for row in found["rows"]}
    assert [row["error"] for row in rows.values()] == [""] * 3
    raw_gb = sum(f.stat().st_size for f in (tmp_path / "bench" / "tiny" / "incoming").glob("*.hdf5")) / 1e9
    copied = rows["raw files copied, with sync"]
    assert raw_gb <= copied["written_gb"] + 0.0005  # rounded to a MB
    for what in ("contimg, without AOFlagger", "contimg, with AOFlagger"):
        assert rows[what]["kind"] == "contimg"
        assert "rotate_and_write" in rows[what]["note"]
        assert rows[what]["cpu_s"] > 0
        assert 0.05 < rows[what]["peak_gb"] < 2  # Snakemake and a job: Python with numpy, numba and astropy
    assert "rival" not in {row["kind"] for row in rows.values()}
    assert path.with_suffix(".md").read_text() in done.stdout
