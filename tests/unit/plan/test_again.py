"""What good products a run would replace, and which of today's settings is to blame, is said before it does."""

import pytest

from contimg.core.products import keep_configuration, status, write_json
from contimg.jobs.engine import Job
from contimg.plan import again

IMAGES = [f"images/2025-10-30/2025-10-30T13:0{n}:00" for n in range(4)]
THEN = {"catalog": "old.fits", "catalog_table": {}, "imaging": {"robust": 0.5}, "calibration": {}, "beam": {}}
PARAMS = ("params have changed since last execution",)


def job(product, *reasons, todo=True):
    return Job("any", (product,), (), todo, reasons)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("CONTIMG_CONFIGURATION", keep_configuration(THEN, tmp_path))
    for image, reason in zip(IMAGES, (None, None, "all flagged"), strict=False):
        write_json(tmp_path / image / "status.json", status(reason))
    write_json(tmp_path / "mosaics/2025-10-30/0830+55.2/status.json", status())
    write_json(tmp_path / "ms/science/2025-10-30/2025-10-30T13:00:00.json", status())
    return tmp_path


def test_good_products_that_would_be_replaced_are_counted_with_the_setting_that_changed(tree):
    jobs = [
        *(job(image, *PARAMS) for image in IMAGES[:3]),
        job(IMAGES[3], "output files have to be generated"),
        job("mosaics/2025-10-30/0830+55.2", "input files updated by another job"),
        job("ms/science/2025-10-30/2025-10-30T13:00:00.ms", todo=False),
        job("plan/a.html"),
    ]
    groups = again.made_again(jobs, tree, {**THEN, "catalog": "new.fits", "qa": {}})
    assert again.lines(groups) == [
        "would make again 2 good images: catalog: old.fits → new.fits",
        "would make again 1 good mosaic: its inputs are made",
    ]
    assert groups[0]["products"] == IMAGES[:2]


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"catalog": None}, "catalog: old.fits → not set"),
        (
            {"imaging": {"robust": 0.0, "keep": ["psf"]}},
            "imaging.robust: 0.5 → 0.0, imaging.keep: not set → ['psf']",
        ),
        ({"catalog": None, "beam": {"file": "b"}}, "beam.file: not set → b; catalog: old.fits → not set"),
        ({"imaging": dict.fromkeys("abcd", 1)}, "imaging changed"),
    ],
)
def test_a_change_is_said_from_what_to_what_unless_it_is_long(tree, now, said):
    groups = again.made_again([job(IMAGES[0], *PARAMS)], tree, {**THEN, **now})
    assert again.lines(groups) == [f"would make again 1 good image: {said}"]


def test_without_the_settings_of_then_the_engines_reason_is_given(tree):
    for name in (tree / "state" / "configs").iterdir():
        name.unlink()
    assert again.lines(again.made_again([job(IMAGES[0], *PARAMS)], tree, THEN)) == [
        "would make again 1 good image: other settings"
    ]


def test_a_sidecar_that_cannot_be_read_is_no_good_product(tree):
    (tree / IMAGES[0] / "status.json").write_text("{")
    assert again.made_again([job(IMAGES[0], *PARAMS)], tree, THEN) == []
