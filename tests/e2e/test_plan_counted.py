"""What `contimg plan` counts without Snakemake's graph, against `snakemake -n`, job by job, in a night's states."""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from builders.uvh5_files import INTEGRATION_S, write_tile
from contimg.config.load import load
from contimg.core.names import tile_mjd
from contimg.core.products import status, write_json
from contimg.jobs.engine import dry_run
from contimg.night.night import plan
from contimg.plan.graph import recipes
from contimg.plan.share import share
from contimg.plan.todo import _Files, planned

from .conftest import CLONE

TILES = 7
STEP_DAYS = 24 * INTEGRATION_S / 86400.0
FIRST = tile_mjd("2025-10-30T13:30:00")  # the calibrator 0834+555 transits in one of them
CORES = 2
FILES = {".parquet", ".csv", ".html", ".tsv"}
DIRECTORIES = {"variability/lightcurves.parquet"}


class Counted:
    """A night of headers, whose products are what Snakemake looks at: files, times and its own records."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.incoming, self.products = folder, folder / "incoming", folder / "products"
        (folder / "sources.csv").write_text("name,ra_deg,dec_deg\na,128.0,54.0\n")
        for number in range(TILES):
            start = FIRST + number * STEP_DAYS
            n_subbands = 15 if number == TILES - 1 else 16  # the last is left out
            write_tile(self.incoming / "2025-10-30", start, n_subbands=n_subbands, n_times=24)
        self.values = {
            "incoming": str(self.incoming),
            "products": str(self.products),
            "photometry": {"sources": str(folder / "sources.csv")},
            "min_subbands": 16,
        }

    def config(self, **values: object):
        return load(self.values | values).resolved(Path.cwd())

    def counted(self, target: str = "all", **values: object):
        config = self.config(**values)
        night = plan(config, cache=self.products / "state" / "index")
        return planned(config, night, target=target, cores=CORES)

    def assert_as_snakemake_says(self, target: str = "all", **values: object) -> dict[str, int]:
        """Compare all jobs; returns how many of each rule are to be done."""
        config = self.config(**values)
        write_json(self.folder / "config.json", config.model_dump(mode="json"))
        theirs = dry_run(
            CLONE,
            self.folder / "config.json",
            [target],
            python=sys.executable,
            folder=self.folder,
            cores=CORES,
        )
        ours = self.counted(target, **values)
        for what in ("rule", "output", "input", "todo", "benchmark"):
            assert [(job.output[0], getattr(job, what)) for job in ours] == [
                (job.output[0], getattr(job, what)) for job in theirs
            ]
        todo = [job for job in ours if job.todo]
        asked = [job for job in theirs if job.todo]
        assert [(job.threads, round(job.disk_mb)) for job in todo] == [
            (job.threads, job.disk_mb) for job in asked
        ]
        numbers: dict[str, int] = {}
        for job in todo:
            numbers[job.rule] = numbers.get(job.rule, 0) + 1
        return numbers

    def make(self) -> None:
        """Make every product, in the order of the work, and note of each what Snakemake would."""
        config = self.config()
        night = plan(config, cache=self.products / "state" / "index")
        jobs = recipes(config, night, share(config.threads_per_job, night, config.products, CORES), "all")
        files = _Files(self.products)
        wanted = {job.output for job in self.counted()}
        began = time.time()
        for number, job in enumerate(job for job in jobs if job.output in wanted):
            for path in (*job.output, job.benchmark):
                there = self.products / path
                there.parent.mkdir(parents=True, exist_ok=True)
                if there.suffix == ".json":
                    write_json(there, status(None))
                elif there.suffix in FILES and path not in DIRECTORIES:
                    there.touch()
                else:
                    write_json(there / "status.json", status(None))
                    there = there / ".snakemake_timestamp"
                    there.touch()
                os.utime(there, (began + number, began + number))
                record = {"rule": job.rule, "input": sorted(job.input), "params": sorted(job.params)}
                write_json(files.noted(path), record | {"record_format_version": 6})


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return Counted(tmp_path_factory.mktemp("counted"))


def test_the_count_is_snakemakes_in_every_state_of_a_night(night):
    fresh = night.assert_as_snakemake_says()
    assert fresh["convert_tile"] == fresh["image_tile"] == TILES - 1
    assert fresh["calibrate_transit"] == fresh["lightcurves"] == 1
    night.make()
    assert night.assert_as_snakemake_says() == {}

    # half done: images, a verdict and a set are gone, one image is rejected, a caltable and a raw file are newer
    tree = night.products
    images, sets = sorted(tree.glob("images/*/*")), sorted(tree.glob("ms/science/*/*.ms"))
    for image in images[:2]:
        shutil.rmtree(image)
    shutil.rmtree(sets[3])
    write_json(images[4] / "status.json", status("all flagged"))
    sorted(tree.glob("qa/*/*+*.json"))[0].unlink()
    (tree / "variability" / "sources.parquet").unlink()
    later = time.time() + 3600.0
    os.utime(sorted(night.incoming.glob("*/*"))[-20], (later, later))
    half = night.assert_as_snakemake_says()
    assert half["convert_tile"] == 2
    assert 4 <= half["image_tile"] < TILES
    assert night.assert_as_snakemake_says("mosaic").keys() < half.keys()
    assert night.assert_as_snakemake_says("publish")["list_published"] == 1

    # a job that was interrupted, a tile left out by hand, other settings
    mark = _Files(tree).noted(f"images/2025-10-30/{images[2].name}", "incomplete")
    mark.parent.mkdir(exist_ok=True)
    mark.touch()
    assert night.assert_as_snakemake_says()["image_tile"] == half["image_tile"] + 1
    other = night.assert_as_snakemake_says(exclude=[images[5].name], imaging={"pb_limit": 0.25})
    assert other["image_tile"] == TILES - 2
    assert "convert_tile" in other
