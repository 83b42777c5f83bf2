"""Gains between two transits: a linear drift is followed, and what cannot be followed is said."""

import json

import numpy as np
import pytest

from contimg.gains import between as calbetween
from contimg.gains.tables import Gains

N_ANT, N_CHAN = 12, 32
START, END = 0.0, 6 * 3600.0  # s
TIMES = np.linspace(2.0, 2.08, 24) * 3600.0  # a tile of five minutes, at a third of the way


def truth(seconds: np.ndarray, *, turn_deg: float = 40.0, seed: int = 1) -> np.ndarray:
    """Gains (nt, nant, nchan, 2) whose phases, amplitudes and delays drift linearly from START to END."""
    rng = np.random.default_rng(seed)
    part = ((seconds - START) / (END - START))[:, None, None, None]
    size = (N_ANT, 1, 2)
    amplitude = np.exp(0.1 * rng.normal(size=size)) * (1 + 0.06 * rng.normal(size=size) * part)
    turn = np.radians(turn_deg) * rng.normal(size=size) * part
    delay = 2 * np.pi * rng.normal(size=size) * np.linspace(-0.5, 0.5, N_CHAN)[None, :, None]
    return amplitude * np.exp(1j * (rng.uniform(-np.pi, np.pi, size) + turn + delay * (1 + 0.02 * part)))


def solved(seconds: float, *, noise: float = 0.0, seed: int = 2, **settings: float) -> Gains:
    """The gains of one transit with noise, phases relative to a reference antenna of its own."""
    rng = np.random.default_rng(seed)
    gain = truth(np.array([seconds]), **settings)[0]
    gain = gain * np.exp(-1j * np.angle(gain[seed % N_ANT].mean(axis=0)))
    gain = gain + noise * (rng.normal(size=gain.shape) + 1j * rng.normal(size=gain.shape))
    shape = (len(TIMES), N_ANT, 2)
    return Gains(gain, np.ones(gain.shape, bool), TIMES, np.ones(shape, complex))


def error(gains: Gains, **settings: float) -> float:
    """The rms relative error of calibrated visibilities, in which a common phase of all antennas cancels."""
    true = truth(TIMES, **settings)
    one, two = np.triu_indices(N_ANT, 1)
    errors = []
    for i in range(len(TIMES)):
        found = gains.at(i)
        ratio = found[one] * found[two].conj() / (true[i, one] * true[i, two].conj())
        errors.append(np.abs(ratio - 1) ** 2)
    return float(np.sqrt(np.mean(errors)))


def test_gains_that_drift_linearly_are_followed_and_the_nearest_transit_alone_is_worse():
    first, second = solved(START, noise=0.005), solved(END, noise=0.005, seed=3)
    gains, metrics = calbetween.interpolated(first, second, (START, END))
    # Noise of 0.5 % in each part of both: √2 0.5 % × √((2/3)² + (1/3)²) for an antenna, √2 more for a baseline. The
    # chord between phases that differ by the delay's drift, 0.02 · 2π · 0.5 rad at most, adds less.
    assert error(gains) < 0.02
    # 40° · 1/3 of drift an antenna, √2 for a baseline: 19°
    assert error(first) > 0.25
    assert metrics["weight"] == pytest.approx(TIMES.mean() / END)
    assert metrics["n_changed"] == 0


def test_at_a_transit_its_own_gains_come_out():
    first, second = solved(START), solved(END, seed=3)
    at_start = Gains(first.steady, first.good, np.array([START, START]), first.varying[:2])
    gains, _ = calbetween.interpolated(at_start, second, (START, END))
    np.testing.assert_allclose(gains.at(0), first.at(0), atol=1e-6)


def test_phases_that_turned_too_far_to_say_how_are_not_interpolated():
    first, second = solved(START, turn_deg=150.0), solved(END, turn_deg=150.0, seed=3)
    assert calbetween.interpolated(first, second, (START, END)) is None


def test_an_antenna_whose_amplitude_jumped_is_left_out_and_one_that_only_one_transit_has_keeps_its_gain():
    first, second = solved(START), solved(END, seed=3)
    second.steady[4] *= 1.8
    second.good[7] = False
    gains, metrics = calbetween.interpolated(first, second, (START, END))
    assert metrics["n_changed"] == 1
    assert not gains.good[4].any()
    assert gains.good[np.arange(N_ANT) != 4].all()
    np.testing.assert_allclose(np.abs(gains.at(3)[7]), np.abs(first.at(3)[7]), rtol=1e-6)


@pytest.fixture
def candidates(tmp_path, monkeypatch):
    """Directories of two good transits, before and after the tile, and of a rejected one nearer than both."""
    when = {"before": START, "bad": 1.9 * 3600.0, "after": END}
    for name in when:
        (tmp_path / name).mkdir()
        verdict = (
            {"status": "ok", "reason": None} if name != "bad" else {"status": "rejected", "reason": "no"}
        )
        (tmp_path / name / "status.json").write_text(json.dumps(verdict))
    monkeypatch.setattr(calbetween, "_when", lambda path: when[path.name])
    monkeypatch.setattr(calbetween, "read_gains", lambda path, meta: solved(when[path.name]))
    monkeypatch.setattr(calbetween, "times_mjd_s", lambda times: times)
    return [tmp_path / name for name in ("bad", "before", "after")]


class Meta:
    """The times of a tile."""

    times_jd = TIMES


def test_both_transits_have_a_part_if_both_are_good(candidates):
    between = calbetween.gains_of(candidates, Meta, interpolate=True)
    assert [path.name for path in between.tables] == ["before", "after"]
    assert between.name == "before and after"
    assert error(between.gains) < 0.002


def test_one_transit_stands_alone_where_the_other_is_missing_or_not_wanted(candidates):
    alone = calbetween.gains_of(candidates[:2], Meta, interpolate=True)
    assert [path.name for path in alone.tables] == ["before"]
    assert "other side" in alone.metrics["alone"]
    unwanted = calbetween.gains_of(candidates, Meta, interpolate=False)
    assert [path.name for path in unwanted.tables] == ["before"]


def test_antennas_that_a_transit_has_no_solution_for_are_told_with_the_reason(candidates):
    seen, gone = ({"data_flagged_fraction": flagged, "flagged_fraction": 0.1} for flagged in (0.02, 1.0))
    metrics = {
        "antennas": {
            "1": seen,
            "2": gone,  # flagged when it was converted: it has no data
            "3": seen | {"flagged_fraction": 1.0},
            "4": gone | {"flagged_fraction": 1.0},  # departed, and flagged for it
        },
        "departed": {"antennas": {"4": "phases scatter by 80 deg"}},
    }
    (candidates[1] / "status.json").write_text(
        json.dumps({"status": "ok", "reason": None, "metrics": metrics})
    )
    found = calbetween.gains_of(candidates, Meta, interpolate=True).metrics
    assert found["with_data"] == 3
    assert found["left_out"] == {"3": calbetween.NO_SOLUTION, "4": "phases scatter by 80 deg"}


@pytest.mark.parametrize(("power", "sefd"), [(0.92, 1.0), (1 / 1.08, 1.08)])
def test_the_scale_between_two_transits_tells_gains_that_changed_from_a_flux_that_is_wrong(
    tmp_path, power, sefd
):
    # an array that lost 8 % of its power has the same SEFD; a calibrator listed 8 % too bright makes gains too small
    # and the SEFD too high by as much
    first = solved(START)
    second = Gains(first.steady * np.sqrt(power), first.good, first.times_mjd_s, first.varying)
    for name, value in (("a", 6500.0), ("b", 6500.0 * sefd)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "status.json").write_text(json.dumps({"metrics": {"sefd_jy": value}}))
    found = calbetween.scale(tmp_path / "a", tmp_path / "b", first, second)
    assert found == {"fluxes": pytest.approx(1 / power, abs=1e-3), "sefd": pytest.approx(sefd, abs=1e-3)}
    (tmp_path / "b" / "status.json").write_text(json.dumps({"metrics": {}}))
    assert calbetween.scale(tmp_path / "a", tmp_path / "b", first, second)["sefd"] is None
