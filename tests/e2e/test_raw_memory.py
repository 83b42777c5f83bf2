"""A tile whose raw files are repaired with their old times, or whose clock is ahead, through the workflow."""

import os
import shlex
import shutil
import time
from dataclasses import replace

from builders.damage import damage_chunk
from contimg.core.names import science_sidecar
from contimg.core.products import read_json
from contimg.simulate import simulate

from .conftest import ODD, snakemake

AHEAD_S = 7200.0


def test_an_error_is_told_every_time_until_its_file_is_repaired_with_its_old_time(tiny_options, tmp_path):
    night = {"incoming": tmp_path / ODD / "incoming", "products": tmp_path / ODD / "products"}
    # Below `incoming` directories may be called anything but for braces.
    below = night["incoming"] / "night [a]*? 'q' \"$HOME\" ;|<>"
    truth = simulate(replace(tiny_options, n_tiles=1, transit_tile=0), below)
    files = truth.files(0)
    whole = shutil.copy2(files[5], tmp_path / "whole")
    damage_chunk(files[5])
    later = time.time() + AHEAD_S
    os.utime(files[2], (later, later))

    def convert(*arguments):
        settings = ("flagging={aoflagger: false}",)
        return snakemake(*arguments, "convert", **night, settings=settings, check=False)

    first = convert("--cores", "1")
    assert first.returncode == 1
    assert f"{files[5]}: damaged HDF5" in first.stdout
    ((said),) = [line for line in first.stdout.splitlines() if "ahead of this machine's clock" in line]
    assert files[2].name in said
    assert "by 2.0 h" in said

    again = convert("--cores", "1")
    assert "Nothing to be done" in again.stdout
    assert f"contimg retry --products {shlex.quote(str(night['products']))}" in again.stdout
    assert again.returncode == 1

    shutil.copy2(whole, files[5])  # into the same file, with its old size and time
    repaired = convert("--cores", "1")
    assert repaired.returncode == 0, repaired.stdout
    assert f"is made again: {truth.tiles[0].name} ({files[5].name})" in repaired.stdout
    assert "failed (attempt" not in repaired.stdout  # nor for the file whose time lies ahead
    assert read_json(night["products"] / science_sidecar(truth.tiles[0].name))["status"] == "ok"

    settled = convert("-n")
    assert "Nothing to be done" in settled.stdout
    assert settled.returncode == 0
