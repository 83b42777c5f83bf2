"""Zero points and means from references: against a direct solution, and against the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contimg.variability import ensemble_kernels as kernels
from contimg.variability.ensemble import Ensemble, Known, Rows, solve
from contimg.variability.options import VariabilityOptions

OPTIONS = VariabilityOptions()
NOISE, RESIDUAL = 3e-4, 4e-3


def simulated(
    seed: int = 1,
    n_sources: int = 60,
    n_mosaics: int = 80,
    *,
    offset: float = 0.0,
    pointings: np.ndarray | None = None,
) -> tuple[Rows, np.ndarray, np.ndarray]:
    """References of 20 mJy to 1 Jy in mosaics whose scale is off by 3 % and slopes by 1 %; the scales and fluxes."""
    rng = np.random.default_rng(seed)
    flux = 10 ** rng.uniform(np.log10(0.02), 0.0, n_sources)
    x, y = rng.uniform(-1.0, 1.0, (2, n_sources))
    c = np.zeros((n_mosaics, kernels.TERMS))
    c[:, 0] = 1.0 + 0.03 * rng.standard_normal(n_mosaics)
    c[:, 1:3] = 0.01 * rng.standard_normal((n_mosaics, 2))
    of = np.zeros(n_mosaics, dtype=np.int64) if pointings is None else pointings
    steps = offset * rng.standard_normal((of.max() + 1, n_sources))
    mosaic, source = (
        part.ravel() for part in np.meshgrid(np.arange(n_mosaics), np.arange(n_sources), indexing="ij")
    )
    gain = c[mosaic, 0] + c[mosaic, 1] * x[source] + c[mosaic, 2] * y[source]
    random = rng.standard_normal((2, len(mosaic)))
    true = flux[source] * (1.0 + steps[of[mosaic], source])
    measured = true * gain * (1.0 + RESIDUAL * random[0]) + NOISE * random[1]
    rows = Rows(
        mosaic=mosaic.astype(np.int64),
        source=source.astype(np.int64),
        pointing=of[mosaic],
        x=x[source],
        y=y[source],
        flux=measured,
        noise=np.full(len(mosaic), NOISE),
        n_mosaics=n_mosaics,
        n_sources=n_sources,
        n_pointings=int(of.max()) + 1,
    )
    return rows, c, flux


def gain(c: np.ndarray, rows: Rows) -> np.ndarray:
    x, y = rows.x, rows.y
    terms = np.stack([np.ones_like(x), x, y, x * x - 1 / 3, x * y, y * y - 1 / 3])
    return np.einsum("kr,rk->r", terms, c[rows.mosaic])


def test_zero_points_are_true_within_their_errors():
    rows, c, _ = simulated()
    found = solve(rows, OPTIONS)
    assert found.good.all()
    ratio = gain(found.c, rows) / gain(c, rows)
    per_source = np.bincount(rows.source, ratio) / np.bincount(rows.source)
    error = (ratio / per_source[rows.source] - 1.0).std()
    # 60 references of 0.4 % residual and noise of up to 1.5 %: the mean of a mosaic is known to 0.08 %, a place at
    # its edge, with six terms, to about sqrt(6) of that
    assert error < 0.0025
    stated = np.sqrt(np.einsum("jkk->jk", found.cov)[:, 0])
    pulls = (found.c[:, 0] - c[:, 0] - np.mean(found.c[:, 0] - c[:, 0])) / stated
    # 80 mosaics: the width of their pulls is known to 8 %
    assert 0.7 < pulls.std() < 1.3


def test_the_solution_is_that_of_the_normal_equations():
    """At the least squares, weighted residuals are orthogonal to every term, with its prior, and to every source."""
    rows, _, _ = simulated(n_sources=12, n_mosaics=60)
    found = solve(rows, OPTIONS)
    value = found.value[rows.source, 0]
    variance = (rows.noise / value) ** 2 + found.extra[rows.source]
    x, y = rows.x, rows.y
    terms = np.stack([np.ones_like(x), x, y, x * x - 1 / 3, x * y, y * y - 1 / 3], axis=1)
    # the last fit counts the means' own uncertainty, 1/60 of the variance: so much of a deviation is left, and no more
    residual = rows.flux / value - gain(found.c, rows)
    weight = 1.0 / variance
    size = np.abs(residual) / np.sqrt(variance)
    weight = np.where(size > kernels.HUBER, kernels.HUBER / size, 1.0) * weight
    for j in range(rows.n_mosaics):
        here = rows.mosaic == j
        prior = np.array([1.0] + [0.0] * (kernels.TERMS - 1))
        gradient = terms[here].T @ (weight * residual)[here] - (found.c[j] - prior) / found.prior_var
        scale = np.sqrt(terms[here].T ** 2 @ weight[here])
        assert np.abs(gradient / scale).max() < 0.05  # of one standard deviation of that term
    for s in range(rows.n_sources):
        here = rows.source == s
        assert abs((weight * residual)[here].sum() / np.sqrt(weight[here].sum())) < 0.05


def test_a_source_that_varies_does_not_set_the_scale():
    rows, _, _ = simulated()
    brightest = np.bincount(rows.source, rows.flux).argmax()
    rng = np.random.default_rng(4)
    wild = 1.0 + 0.5 * rng.uniform(-1.0, 1.0, rows.n_mosaics)
    varied = replace(rows, flux=np.where(rows.source == brightest, rows.flux * wild[rows.mosaic], rows.flux))
    found = solve(varied, OPTIONS)
    assert np.sqrt(found.extra[brightest]) == pytest.approx(
        0.5 / np.sqrt(3.0), rel=0.3
    )  # 80 epochs: 8 %, twice
    plain = solve(rows, OPTIONS)
    difference = (found.c[:, 0] - plain.c[:, 0]) / np.sqrt(found.cov[:, 0, 0])
    assert difference.std() < 0.5


def test_the_source_itself_has_no_part_in_its_zero_point():
    rows, _, _ = simulated(n_sources=15, n_mosaics=20)
    found = solve(rows, OPTIONS)
    at = np.flatnonzero(rows.mosaic == 7)
    without = at[3]
    b = np.empty(kernels.TERMS)
    value, value_var = found.value[:, 0], found.value_var[:, 0]
    variance = (rows.noise / value[rows.source]) ** 2 + found.extra[rows.source] + value_var[rows.source]
    left, left_var, _ = kernels.gain_without(
        rows.x[without], rows.y[without], rows.flux[without] / value[rows.source[without]], variance[without],
        found.c[7], found.cov[7], b,
    )  # fmt: skip
    # the mosaic once more from the other references, with the same weights as in the fit
    others = at[at != without]
    terms = np.empty((len(others), kernels.TERMS))
    for k, row in enumerate(others):
        kernels.basis(rows.x[row], rows.y[row], terms[k])
    z = rows.flux[others] / value[rows.source[others]]
    residual = z - gain(found.c, rows)[others]
    size = np.abs(residual) / np.sqrt(variance[others])
    weight = np.where(size > kernels.HUBER, kernels.HUBER / size, 1.0) / variance[others]
    normal = terms.T @ (weight[:, None] * terms) + np.diag(1.0 / found.prior_var)
    right = terms.T @ (weight * z) + np.eye(kernels.TERMS)[0] / found.prior_var
    kernels.basis(rows.x[without], rows.y[without], b)
    assert left == pytest.approx(b @ np.linalg.solve(normal, right), abs=1e-5)
    assert left_var == pytest.approx(b @ np.linalg.solve(normal, b), rel=1e-3)


def test_offsets_of_a_pointing_are_not_the_mosaics():
    of = (np.arange(80) // 20 % 2).astype(np.int64)
    rows, c, _ = simulated(offset=0.02, pointings=of)
    found = solve(rows, OPTIONS)
    step = (found.c[:, 0] - c[:, 0])[of == 1].mean() - (found.c[:, 0] - c[:, 0])[of == 0].mean()
    # the mean of 60 sources' offsets of 2 % in either pointing is not theirs to tell from the scale: 0.26 % x sqrt(2)
    assert abs(step) < 4 * 0.02 / np.sqrt(60) * np.sqrt(2)
    assert 0.01 < np.sqrt(found.pointing_var) < 0.03


def test_too_few_references_or_too_bad_a_fit_give_no_zero_point():
    rows, _, _ = simulated(n_sources=20, n_mosaics=12)
    few = (rows.mosaic != 3) | (rows.source < 4)
    wild = np.where(rows.mosaic == 5, np.random.default_rng(3).uniform(0.2, 2.0, len(rows.mosaic)), 1.0)
    rows = replace(rows, flux=rows.flux * wild)
    names = ("mosaic", "source", "pointing", "x", "y", "flux", "noise")
    found = solve(replace(rows, **{name: getattr(rows, name)[few] for name in names}), OPTIONS)
    assert np.flatnonzero(~found.good).tolist() == [3, 5]
    assert found.reasons[3] == "4 references, fewer than min_references 5"
    assert "scatter by" in found.reasons[5]


def known_of(found: Ensemble) -> Known:
    return Known(
        value=found.value,
        value_var=found.value_var,
        mean=found.mean,
        mean_var=found.mean_var,
        extra=found.extra,
        prior_var=found.prior_var,
        pointing_var=found.pointing_var,
    )


def test_new_nights_are_put_on_the_scale_of_the_old_ones():
    rows, _, _ = simulated(n_mosaics=100)
    old, new = rows.mosaic < 80, rows.mosaic >= 80
    names = ("mosaic", "source", "pointing", "x", "y", "flux", "noise")
    first = solve(replace(rows, **{name: getattr(rows, name)[old] for name in names}, n_mosaics=80), OPTIONS)
    late = replace(rows, **{name: getattr(rows, name)[new] for name in names}, n_mosaics=20)
    late = replace(late, mosaic=late.mosaic - 80)
    second = solve(late, OPTIONS, known_of(first))
    np.testing.assert_array_equal(second.value, first.value)  # no old mean has moved
    together = solve(rows, OPTIONS)
    difference = (second.c[:, 0] - together.c[80:, 0]) / np.sqrt(second.cov[:, 0, 0])
    assert np.abs(difference).max() < 1.0


def test_a_new_pointing_keeps_the_mean_scale():
    of = np.repeat([0, 1], [60, 20]).astype(np.int64)
    rows, _, _ = simulated(offset=0.02, pointings=of)
    names = ("mosaic", "source", "pointing", "x", "y", "flux", "noise")
    old, new = rows.pointing == 0, rows.pointing == 1
    first = solve(
        replace(rows, **{name: getattr(rows, name)[old] for name in names}, n_mosaics=60, n_pointings=1),
        OPTIONS,
    )
    late = replace(rows, **{name: getattr(rows, name)[new] for name in names}, n_mosaics=20)
    late = replace(late, mosaic=late.mosaic - 60)
    known = known_of(first)
    wide = {
        name: np.pad(getattr(known, name), ((0, 0), (0, 1)), constant_values=np.nan)
        for name in ("value", "value_var")
    }
    second = solve(late, OPTIONS, replace(known, **wide))
    offsets = second.value[:, 1] / second.mean - 1.0
    assert abs(np.average(offsets, weights=1.0 / (second.value_var[:, 1] + 0.02**2))) < 0.004
    assert second.good.all()
