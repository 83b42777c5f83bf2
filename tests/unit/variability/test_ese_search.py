"""The search for scattering events: its algebra against dense matrices, its finds against simulated truth."""

import functools

import celerite2
import numpy as np
import pytest
from celerite2 import terms

from contimg.simulate.scattering import TYPES, Event, Lens, magnification
from contimg.simulate.survey import SurveyOptions, simulate
from contimg.variability import kernel, match, search, whiten
from contimg.variability.lens import HALF_GRID, REACH, bank
from contimg.variability.modes import common_modes
from contimg.variability.series import Series

RNG = np.random.default_rng(4)
T = np.sort(RNG.uniform(0.0, 90.0, 60))
V = RNG.uniform(0.5, 2.0, 60) * 1e-3
Y = RNG.normal(0.0, 0.05, 60)
A2, RATE = 0.03**2, 1.0 / 20.0
DENSE = np.diag(V) + A2 * np.exp(-RATE * np.abs(T[:, None] - T[None, :]))
FIRST_MJD = 61000.0


def gain_by_matrices(template):
    """Gain of log likelihood of mean + a × template over the mean alone, by dense generalised least squares."""
    inverse = np.linalg.inv(DENSE)

    def chi2(design):
        normal = design.T @ inverse @ design
        fitted = design @ np.linalg.solve(normal, design.T @ inverse @ Y)
        return (Y - fitted) @ inverse @ (Y - fitted), np.linalg.solve(normal, design.T @ inverse @ Y)

    without, _ = chi2(np.ones((60, 1)))
    with_it, found = chi2(np.stack([np.ones(60), template], axis=1))
    return 0.5 * (without - with_it), found[1]


def series_of(survey):
    median = np.array(
        [np.median(survey.flux[a:b]) for a, b in zip(survey.starts, survey.starts[1:], strict=False)]
    )
    scale = np.repeat(median, np.diff(survey.starts))
    return Series(
        survey.source_ids, survey.ra_deg, survey.dec_deg, median, survey.starts, survey.mjd,
        survey.flux / scale - 1.0, survey.error / scale, survey.slope, survey.slope_error,
    )  # fmt: skip


@functools.cache
def prior():
    return search.learn(series_of(simulate(SurveyOptions(n_sources=80, seed=1, season_rms=0.0))))


def found_in(events, **options):
    """The best event of each source that has one."""
    settings = SurveyOptions(**{"n_sources": len(events), "seed": 2, "season_rms": 0.0, **options})
    return search.search(series_of(simulate(settings, events)), prior())


def test_whitened_noise_is_that_of_celerite_and_of_dense_matrices():
    walk = terms.RealTerm(a=A2, c=RATE)
    gp = celerite2.GaussianProcess(walk, mean=0.0)
    gp.compute(T, diag=V)
    phi, w, isd, out = (np.empty(60) for _ in range(4))
    logdet = whiten.factor(T, V, A2, RATE, phi, w, isd)
    whiten.whiten(Y, A2, phi, w, isd, out)
    # rounding of 60 recursions in double precision
    assert logdet == pytest.approx(np.linalg.slogdet(DENSE)[1], rel=1e-10)
    assert out @ out == pytest.approx(Y @ np.linalg.solve(DENSE, Y), rel=1e-10)
    assert -0.5 * (out @ out + logdet + 60 * np.log(2 * np.pi)) == pytest.approx(
        gp.log_likelihood(Y), rel=1e-10
    )


def test_the_likelihood_integrates_over_the_mean():
    decay = np.append(0.0, np.exp(-RATE * np.diff(T)))
    here = whiten.log_likelihood(T, Y, V, A2, decay)
    shifted = whiten.log_likelihood(T, Y + 0.7, V, A2, decay)
    inverse = np.linalg.inv(DENSE)
    one = np.ones(60)
    mean = (one @ inverse @ Y) / (one @ inverse @ one)
    chi2 = (Y - mean) @ inverse @ (Y - mean)
    expected = -0.5 * (chi2 + np.linalg.slogdet(DENSE)[1] + np.log(one @ inverse @ one))
    assert here == pytest.approx(expected, rel=1e-9)
    assert shifted == pytest.approx(here, rel=1e-7)


def test_an_epoch_that_is_left_out_does_not_count():
    infinite = V.copy()
    infinite[20:30] = np.inf
    keep = np.isfinite(infinite)
    decay = np.append(0.0, np.exp(-RATE * np.diff(T)))
    fewer = np.append(0.0, np.exp(-RATE * np.diff(T[keep])))
    assert whiten.log_likelihood(T, Y, infinite, A2, decay) == pytest.approx(
        whiten.log_likelihood(T[keep], Y[keep], V[keep], A2, fewer), rel=1e-9
    )


def test_the_prediction_leaves_the_window_out():
    mean, variance = np.empty(60), np.empty(60)
    whiten.outside_prediction(T, Y, V, A2, RATE, np.full(60, 6.0), mean, variance)
    for k in (0, 17, 31, 59):
        far = np.abs(T - T[k]) > 6.0
        cross = A2 * np.exp(-RATE * np.abs(T[far] - T[k]))
        solved = np.linalg.solve(DENSE[np.ix_(far, far)], np.stack([Y[far], cross], axis=1))
        assert mean[k] == pytest.approx(cross @ solved[:, 0], abs=1e-10)
        assert variance[k] == pytest.approx(A2 - cross @ solved[:, 1], rel=1e-8)


@pytest.mark.parametrize("number", [0, 9, 20])
def test_the_gain_of_an_event_is_that_of_generalised_least_squares(number):
    forms = search.shapes()
    of = match.curve(T, Y, V, A2, RATE)
    x = np.linspace(-REACH, REACH, 2 * HALF_GRID + 1)
    tried = 0
    for middle in (20.0, 45.0, 70.0):
        template = np.interp((T - middle) / 12.0, x, forms.table[number], left=0.0, right=0.0)
        expected, amplitude = gain_by_matrices(template)
        gain, found = match.event(
            of, forms.table[number], forms.first[number], forms.last[number], forms.peak[number], 0, middle, 12.0
        )  # fmt: skip
        if 0.0 < amplitude < match.MOST:
            # the tail of a whitened template is cut where it is 1e-6 of its square
            assert gain == pytest.approx(expected, rel=5e-3, abs=1e-3)
            assert found == pytest.approx(amplitude, rel=5e-3)
            tried += 1
        elif amplitude < 0.0:
            assert gain == 0.0
    assert tried > 0


def test_the_gain_of_a_step_is_that_of_generalised_least_squares():
    of = match.curve(T, Y, V, A2, RATE)
    for k in (10, 41):
        expected, amplitude = gain_by_matrices((np.arange(60) >= k).astype(float))
        assert match.step(of, k) == pytest.approx((expected, amplitude), rel=1e-8)


def test_lenses_keep_the_light_and_dim_the_middle_as_geometric_optics_says():
    made = bank()
    middle = made.shapes.shape[1] // 2
    # Clegg, Fey & Lazio 1998: on the axis M = 1/(1 + α) of a small source, whose slope is then 2 α/(1 + α);
    # a source of 0.15 lens widths blurs it by some percent of the depth
    k = made.parameters.index("alpha=2.5 size=0.15")
    assert made.shapes[k, middle] == pytest.approx(1.0 / 3.5 - 1.0, abs=0.03)
    assert made.slopes[k, middle] == pytest.approx(2 * 2.5 / 3.5, rel=0.05)
    place, gain = magnification(Lens("filament", 2.0, 0.3))
    assert np.trapezoid(gain - 1.0, place) == pytest.approx(0.0, abs=1e-3)
    assert gain[len(gain) // 2] == pytest.approx(1.0 / 3.0, abs=0.04)


def test_a_simulated_event_is_chromatic_as_its_wavelength_squared():
    event = Event(Lens("filament", 0.35, 0.05), 0.2592, 0.0, 30.0)
    # with all of the source behind the lens, d ln M / d ln ν = 2 α / (1 + α) on the axis; finite steps of 6 %
    assert event.slope(np.array([0.0]))[0] == pytest.approx(2 * 0.35 / 1.35, rel=0.05)
    assert event.factor(np.array([0.0]))[0] == pytest.approx(1 - 0.2592, abs=1e-3)


@pytest.mark.parametrize("kind", ["dip", "U", "round"])
def test_a_dip_of_30_percent_is_found_where_it_is(kind):
    events = [Event(TYPES[kind], 0.3, FIRST_MJD + day, 25.0) for day in (90.0, 180.0, 270.0)]
    best = found_in(events, red_rms=0.01)[:, 0]
    assert (best[:, kernel.STATISTIC] > search.AGAIN).all()
    # the middle of a dip of 25 d, some 8 sigma deep each day, is known to days; 5 d allow for gaps
    assert np.abs(best[:, kernel.MIDDLE] - [event.middle_mjd for event in events]).max() < 5.0
    assert (np.abs(np.log(best[:, kernel.WIDTH] / 25.0)) < np.log(2.0)).all()


def test_two_events_of_one_source_are_found_apart():
    survey = simulate(SurveyOptions(n_sources=1, seed=3, season_rms=0.0, red=False))
    both = Event(TYPES["U"], 0.4, FIRST_MJD + 90, 15.0), Event(TYPES["U"], 0.4, FIRST_MJD + 260, 30.0)
    series = series_of(survey)
    factor = both[0].factor(series.mjd) * both[1].factor(series.mjd)
    rows = search.search(series.with_flux((series.flux + 1.0) * factor - 1.0), prior())[0]
    strong = rows[rows[:, kernel.STATISTIC] > search.AGAIN]
    middles = np.sort(strong[:, kernel.MIDDLE]) - FIRST_MJD
    assert len(middles) == 2
    assert np.abs(middles - [90, 260]).max() < 5.0


def test_steps_flares_and_bad_epochs_are_no_events():
    survey = simulate(SurveyOptions(n_sources=3, seed=5, season_rms=0.0, red=False, outliers=0.0))
    series = series_of(survey)
    days = series.mjd - FIRST_MJD
    flux = series.flux.copy()
    flux[series.of(0)] += np.where(days[series.of(0)] > 150, -0.3, 0.0)
    late = days[series.of(1)] - 150.0
    flux[series.of(1)] += np.where(late > 0, 0.6 * np.exp(-np.maximum(late, 0) / 20.0), 0.0)
    flux[series.starts[2] + 100] -= 0.5
    found = search.search(series.with_flux(flux), prior())
    rows, loudest = found[:, 0], found[:, 1]
    assert (rows[:, kernel.STATISTIC] < search.AGAIN).all()  # no more than 8 over a rival
    assert loudest[0, kernel.RIVAL + match.STEP] > 100.0
    assert loudest[1, kernel.RIVAL + match.FLARE] > 100.0
    assert abs(rows[2, kernel.SIGMA]) > 6.0  # the deviation is reported, but no other epoch confirms it
    assert rows[2, kernel.PAIR] < 5.0


def test_the_statistic_is_the_gain_unless_a_rival_comes_near():
    rows = np.zeros((3, 2, len(kernel.COLUMNS)))
    rows[:, 0, kernel.PAIR] = 6.0
    rows[0, 0, kernel.GAIN], rows[0, 0, kernel.RIVAL + match.STEP] = 30.0, 27.0
    rows[1, 0, kernel.GAIN], rows[1, 0, kernel.RIVAL + match.FLARE] = 30.0, 20.0
    # behind a first row that is no event stands what gained most, and it decides
    rows[2, 0] = rows[1, 0]
    rows[2, 1, kernel.STATISTIC] = search.LOUD
    rows[2, 1, kernel.GAIN], rows[2, 1, kernel.RIVAL + match.TREND] = 80.0, 79.0
    assert search.believed(rows).tolist() == [0.0, 6.0, 0.0]
    best = found_in([Event(TYPES["dip"], 0.3, FIRST_MJD + day, 25.0) for day in (90.0, 180.0)])[:, 0]
    rival = best[:, kernel.RIVAL : kernel.RIVAL + match.N_RIVALS].max(axis=1)
    expected = np.minimum(best[:, kernel.GAIN], kernel.DOUBT * (best[:, kernel.GAIN] - rival))
    np.testing.assert_allclose(best[:, kernel.STATISTIC], expected)


def test_a_season_is_taken_out_and_a_source_has_no_part_in_its_own():
    quiet = SurveyOptions(n_sources=40, seed=6, red=False, outliers=0.0)
    survey = simulate(SurveyOptions(**{**vars(quiet), "season_rms": 0.05}))
    hour = series_of(survey)
    hour = Series(**{**vars(hour), "ra_deg": np.full(40, 130.0)})  # neighbours share a season
    days = hour.mjd - FIRST_MJD
    season = 0.05 * np.sin(2 * np.pi * days / 365.0)
    noise = series_of(simulate(SurveyOptions(**{**vars(quiet), "season_rms": 0.0}))).flux
    dip = np.where(
        hour.owner == 7, Event(TYPES["dip"], 0.3, FIRST_MJD + 150, 60.0).factor(hour.mjd) - 1.0, 0.0
    )
    mode = common_modes(hour.with_flux(noise + season + dip))
    left = season - mode
    # 39 sources, 8 days at 5 % noise: the mode's error is below 0.3 %, and a tenth of a season of 5 % may stay
    assert np.std(left - np.mean(left)) < 0.15 * np.std(season)
    at_dip = (hour.owner == 7) & (np.abs(days - 150) < 20)
    assert abs(np.mean(mode[at_dip]) - np.mean(season[at_dip])) < 0.02  # of a dip of 0.28 there


def test_a_night_looks_only_at_what_reaches_it():
    event = Event(TYPES["U"], 0.4, FIRST_MJD + 100, 20.0)
    series = series_of(simulate(SurveyOptions(n_sources=1, seed=8, season_rms=0.0, red=False), [event]))
    whole = search.search(series, prior())[0, 0]
    tonight = search.search(series, prior(), since_mjd=FIRST_MJD + 300.0)[0, 0]
    then = search.search(series.until([0], [FIRST_MJD + 104.0]), prior(), since_mjd=FIRST_MJD + 103.0)[0, 0]
    assert whole[kernel.STATISTIC] > 50.0
    assert tonight[kernel.STATISTIC] < search.AGAIN
    assert then[kernel.STATISTIC] > search.AGAIN
