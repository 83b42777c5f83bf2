"""What is made again, and what is not."""

import os
import re
from contextlib import contextmanager


def planned(made, *targets, settings=()):
    """Jobs a dry run would start, as {rule: count}."""
    text = made.snakemake("-n", *targets, settings=settings).stdout
    jobs = {}
    for line in text.splitlines():
        match = re.fullmatch(
            r"contimg: (convert_tile|calibrate_transit|image_tile|mosaic_window|mosaic_transit)\s+([1-9]\d*)\s.*",
            line,
        )
        if match:
            jobs[match[1]] = int(match[2])
    assert jobs or "Nothing to be done" in text, text
    return jobs


@contextmanager
def newer(path):
    """A raw file that was written again after the run."""
    before = path.stat()
    os.utime(path)
    try:
        yield
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_second_run_does_nothing(night):
    assert planned(night, "mosaic") == {}


def test_a_run_over_a_shorter_range_after_one_over_a_longer_does_nothing(night):
    tiles = [tile.name for tile in night.truth.tiles]
    assert planned(night, "mosaic", settings=(f"start={tiles[2]}", f"end={tiles[3]}")) == {}


def test_a_changed_raw_file_remakes_its_tile_and_what_follows(night):
    tile = night.truth.tiles[4]
    path = next(path for path in night.truth.files(4) if "incomplete" not in path.name)
    with newer(path):
        again = planned(night, "mosaic")
    holding = [
        path for path in night.directories("mosaics") if tile.name in (path / "status.json").read_text()
    ]
    assert again == {"convert_tile": 1, "image_tile": 1, "mosaic_window": len(holding)}


def test_a_changed_calibrator_tile_remakes_its_tables_and_every_tile_that_may_use_them(night):
    with newer(night.truth.files(2)[0]):
        again = planned(night, "mosaic")
    assert again["calibrate_transit"] == again["convert_tile"] == 1
    assert again["image_tile"] == len(night.directories("images"))


def test_a_changed_imaging_key_remakes_images_and_mosaics_only(night):
    again = planned(night, "mosaic", settings=("imaging={robust: 0.3}",))
    assert again == {
        "image_tile": len(night.directories("images")),
        "mosaic_window": len(night.directories("mosaics")),
    }


def test_a_changed_mosaic_key_remakes_mosaics_only(night):
    assert planned(night, "mosaic", settings=("mosaic={method: mean}",)) == {
        "mosaic_window": len(night.directories("mosaics"))
    }


def test_a_changed_gate_judges_again_and_settings_of_injected_sources_do_not(night):
    tile = night.truth.tiles[2].name
    verdict = f"qa/{tile[:10]}/{tile}.json"
    told = night.snakemake("-n", verdict, settings=("qa={injection_pb: 0.4, injection_minutes: 60}",)).stdout
    assert "Nothing to be done" in told
    told = night.snakemake("-n", verdict, settings=("qa={max_rms: 2.5}",)).stdout
    assert re.search(r"contimg: qa_tile\s+1\s", told)
    assert re.search(r"contimg: image_tile\s+0\s", told)


def test_a_product_can_be_asked_for_by_its_directory(night):
    tile = night.truth.tiles[2].name
    assert "Nothing to be done" in night.snakemake("-n", f"images/{tile[:10]}/{tile}").stdout
