"""What is made again, and what is not."""

import os
import re
from contextlib import contextmanager


def planned(made, target, settings=()):
    """Jobs of every rule that a dry run would start, as {rule: count}."""
    text = made.snakemake("-n", target, settings=settings).stdout
    rows = re.findall(r"^contimg: (\w+) +(\d+) +\d+(?: |$)", text, flags=re.MULTILINE)
    jobs = {rule: int(count) for rule, count in rows if int(count)}
    assert sum(jobs.values()) == 2 * jobs.pop("total", 0), text  # the table is whole
    assert jobs or "Nothing to be done" in text, text
    return jobs


def judged(images=0, mosaics=0, **others):
    """What follows when so many images and mosaics are made: their verdicts and the page of the night."""
    counts = {"image_tile": images, "qa_tile": images, "mosaic_window": mosaics, "qa_mosaic": mosaics}
    return {rule: count for rule, count in (counts | others | {"qa_night": 1}).items() if count}


def measured(images=0, mosaics=0, **others):
    """The same of a night with a catalogue, whose mosaics are measured for the list of all sources."""
    return judged(images, mosaics, photometry_mosaic=mosaics, source_list=1, **others)


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
    assert planned(night, "qa") == {}


def test_a_run_over_a_shorter_range_after_one_over_a_longer_does_nothing(night):
    tiles = [tile.name for tile in night.truth.tiles]
    assert planned(night, "mosaic", settings=(f"start={tiles[2]}", f"end={tiles[3]}")) == {}


def test_a_changed_raw_file_remakes_its_tile_and_what_follows(night):
    tile = night.truth.tiles[4]
    path = next(path for path in night.truth.files(4) if "incomplete" not in path.name)
    with newer(path):
        again = planned(night, "qa")
    holding = [
        path for path in night.directories("mosaics") if tile.name in (path / "status.json").read_text()
    ]
    assert again == measured(images=1, mosaics=len(holding), convert_tile=1)


def test_a_changed_calibrator_tile_remakes_its_tables_and_every_tile_that_may_use_them(night):
    with newer(night.truth.files(2)[0]):
        again = planned(night, "qa")
    images, mosaics = len(night.directories("images")), len(night.directories("mosaics"))
    assert again == measured(images, mosaics, convert_tile=1, calibrate_transit=1)


def test_a_changed_imaging_key_remakes_images_and_what_follows_only(night):
    again = planned(night, "qa", settings=("imaging={robust: 0.3}",))
    assert again == measured(len(night.directories("images")), len(night.directories("mosaics")))


def test_a_changed_mosaic_key_remakes_mosaics_and_what_follows_only(night):
    again = planned(night, "qa", settings=("mosaic={method: mean}",))
    assert again == measured(mosaics=len(night.directories("mosaics")))


def test_what_is_published_of_a_mosaic_made_again_is_published_again(clean):
    again = planned(clean, "publish", settings=("mosaic={stride_minutes: 60, method: mean}",))
    assert again == judged(mosaics=1, publish_mosaic=1, list_published=1)
    assert planned(clean, "publish") == {}


def test_a_changed_gate_judges_again_and_settings_of_injected_sources_do_not(night):
    tile = night.truth.tiles[2].name
    verdict = f"qa/{tile[:10]}/{tile}.json"
    assert planned(night, verdict, settings=("qa={injection_pb: 0.4, injection_minutes: 60}",)) == {}
    assert planned(night, verdict, settings=("qa={max_rms: 2.5}",)) == {"qa_tile": 1}


def test_a_product_can_be_asked_for_by_its_directory(night):
    tile = night.truth.tiles[2].name
    assert planned(night, f"images/{tile[:10]}/{tile}") == {}
