"""Bodies of requests: both forms, unknown keys named, nothing that JSON cannot say."""

import pytest
from pydantic import TypeAdapter, ValidationError

from contimg.api import bodies
from contimg.api.base import KINDS, iso


def read(kind, body):
    requests = {
        "convert": bodies.ConvertRequest,
        "calibrate": bodies.CalibrateRequest,
        "apply": bodies.ApplyRequest,
        "image": bodies.ImageRequest,
        "mosaic": bodies.MosaicRequest,
        "photometry": bodies.PhotometryRequest,
        "ese-detect": bodies.EseRequest,
        "publish": bodies.PublishRequest,
    }
    found = TypeAdapter(requests[kind]).validate_python(body)
    return found.params if isinstance(found, bodies.Wrapped) else found


@pytest.mark.parametrize(
    ("kind", "guide", "server"),
    [
        (
            "image",
            {"ms_paths": ["a"], "parameters": {"robust": 0.0}},
            {"ms_paths": ["a"], "params": {"robust": 0.0}},
        ),
        ("apply", {"ms_paths": ["a"], "caltable_paths": ["t"]}, {"ms_paths": ["a"], "gaintables": ["t"]}),
        ("calibrate", {"ms_paths": ["a"]}, {"ms_paths": ["a"], "params": {}}),
        ("ese-detect", {"min_sigma": 4.0}, {"params": {"min_sigma": 4.0}}),
        ("publish", {"data_ids": ["d"]}, {"data_ids": ["d"]}),
        ("mosaic", {"start": "a", "end": "b"}, {"start_time": "a", "end_time": "b"}),
    ],
)
def test_both_forms_mean_the_same(kind, guide, server):
    assert read(kind, guide) == read(kind, {"job_type": kind, "params": server})


def test_one_path_is_a_list_of_one():
    assert read("image", {"ms_path": "a"}).ms_paths == ["a"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_key_is_named(kind):
    with pytest.raises(ValidationError, match="robustness"):
        read(kind, {"robustness": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, "x", None, []])
def test_numbers_are_finite_and_of_this_world(value):
    if value is None:
        assert read("image", {"ms_paths": ["a"], "parameters": {"robust": None}}).parameters.robust is None
        return
    with pytest.raises(ValidationError):
        read("image", {"ms_paths": ["a"], "parameters": {"robust": value}})


def test_every_ignored_parameter_is_one_that_is_taken():
    models = {
        "convert": bodies.ConvertParameters,
        "calibrate": bodies.CalibrateParameters,
        "image": bodies.ImageParameters,
        "photometry": bodies.PhotometryParameters,
        "ese-detect": bodies.EseParameters,
        "publish": bodies.PublishBody,
    }
    for kind, names in bodies.IGNORED.items():
        assert set(names) <= set(models[kind].model_fields), kind


def test_times_are_utc_with_a_z():
    from datetime import UTC, datetime, timedelta, timezone

    assert iso(datetime(2025, 10, 30, 13, 0, 0, 999999, tzinfo=UTC)) == "2025-10-30T13:00:00Z"
    assert iso(datetime(2025, 10, 30, 6, tzinfo=timezone(timedelta(hours=-7)))) == "2025-10-30T13:00:00Z"
