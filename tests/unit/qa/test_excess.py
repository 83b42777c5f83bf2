"""A tile that is noisier than expected says why, from what its records hold."""

import math

import pytest

from builders.qa_images import judged, sky, tile
from contimg.qa import excess
from contimg.qa.gates import Antennas, ImageFacts, Near
from contimg.qa.notes import Note, about
from contimg.qa.options import QaOptions

MADE = {"rms_jy": 2e-3, "clean_stopped": "threshold", "outside": {}}
NO_BRIGHT = Near(0, math.nan, math.nan)


def facts(**changes):
    values = {
        "rms": 1.6, "noise": 1.0, "near": NO_BRIGHT, "n_positive": 40, "n_negative": 0, "beam": 2.0, "flags": 0.05,
        "weights": 0.9, "sefd_jy": 6500.0, "options": QaOptions(),
    }  # fmt: skip
    return ImageFacts(**values | changes)


def test_a_tile_as_quiet_as_expected_needs_no_reason():
    assert excess.why(facts(rms=1.19, flags=0.9), MADE, brightest_jy=8.8) == []


@pytest.mark.parametrize(
    ("changes", "made", "said"),
    [
        # 8.8 Jy over 4000: 2.2 mJy beyond the image's own 2 mJy; over 6500 (1.35 mJy) it is less than that
        (
            {"near": Near(1, 4000.0, 0.01)},
            {},
            "sidelobes of a source of 8.8 Jy are left, 2.2 mJy/beam round it",
        ),
        (
            {},
            {"sky_model": {"neighbour_noise": 2.42}},
            "sidelobes of sources too faint to be found (2.4 × thermal noise at natural weights)",
        ),
        ({"n_negative": 9}, {}, "9 holes as deep as 5 σ beside 40 peaks: sidelobes or interference"),
        ({"antennas": Antennas({"antennas": {"104": "amplitude 0.6"}})}, {}, "gains are off: antenna 104"),
        (
            {"antennas": Antennas(followed={"9": "0.60 to 1.00"})},
            {},
            "gains changed within the tile: antenna 9",
        ),
        (
            {},
            {"outside": {"Cas A": {"distance_deg": 61.2, "removed": False, "significance": 7.0}}},
            "Cas A, 61 deg away, is in the data and was not subtracted",
        ),
        ({}, {"clean_stopped": "maximum seconds"}, "unfinished: CLEAN, maximum seconds"),
        ({"flags": 0.4}, {}, "40% of the data are flagged: sidelobes are higher"),
        ({"beam": 4.5}, {}, "the beam is 4.5 times as long as wide: sidelobes are higher"),
        ({}, {}, "nothing in its records says why: look at its residual and at the data"),
        (
            {"near": Near(1, 6500.0, 0.01)},
            {
                "sky_model": {"neighbour_noise": 1.1},
                "outside": {
                    "Tau A": {"distance_deg": 47.0, "removed": False, "reason": "no baseline sees it"}
                },
            },
            "nothing in its records says why: look at its residual and at the data",
        ),
    ],
)
def test_each_cause_is_named_and_no_other(changes, made, said):
    assert excess.why(facts(**changes), MADE | made, brightest_jy=8.8) == [said]


def test_the_verdict_of_a_noisy_tile_has_the_reason_in_its_metrics_and_notes(tmp_path):
    sources = sky()
    noisy = judged(
        tile(tmp_path / "a", sources, rms_jy=2e-2, thermal_from_weights_jy=1e-2, flag_fraction=0.4)
    )
    why = noisy["metrics"]["why_noisy"]
    assert "40% of the data are flagged" in why
    assert f"noisier than expected: {noisy['metrics']['rms_over_expected']:.2f} ×; {why}" in noisy["notes"]
    assert judged(tile(tmp_path / "b", sources))["metrics"]["why_noisy"] is None


def test_a_note_goes_only_where_the_same_line_is_a_cause(tmp_path, monkeypatch):
    """A cause that holds the words of a note among others costs no note."""
    line = "unfinished: CLEAN, maximum seconds"
    monkeypatch.setattr(excess, "why", lambda *_, **__: [f"{line} of the second pass"])
    assert line in judged(tile(tmp_path, sky(), clean_stopped="maximum seconds"))["notes"]


def test_notes_are_counted_by_what_they_are_about():
    lines = [kind.line("12: what it says") for kind in Note]
    assert [about(line) for line in lines] == list(Note)
    assert Note.BY_DAY.among({"notes": lines})
    assert not Note.UT1.among({"notes": ["by day: UT1 is a prediction: no"]})


def test_a_cause_that_is_a_note_too_is_noted_once(tmp_path):
    early = {"clean_stopped": "maximum seconds"}
    noisy = judged(tile(tmp_path / "a", sky(), rms_jy=2e-2, thermal_from_weights_jy=1e-2, **early))
    assert "; ".join(noisy["notes"]).count("unfinished: CLEAN, maximum seconds") == 1
    assert "unfinished: CLEAN, maximum seconds" in noisy["metrics"]["why_noisy"]
    quiet = judged(tile(tmp_path / "b", sky(), **early))
    assert "unfinished: CLEAN, maximum seconds" in quiet["notes"]
