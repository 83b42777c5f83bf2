"""Measures of variability: against closed forms, and against their expectation for noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from contimg.variability import curves, metrics, structure
from contimg.variability.metrics import excess, extreme_pair
from contimg.variability.page import page, stability
from contimg.variability.scale import epochs
from unit.variability.test_curves import rows


def table(sources: dict[str, np.ndarray], error: float) -> pd.DataFrame:
    n = len(next(iter(sources.values())))
    frame = rows(sorted(sources), 60000.0 + np.arange(n) * 0.99727)
    flux = np.concatenate([sources[name] for name in sorted(sources)])
    return frame.assign(
        flux_norm=flux,
        flux_norm_err=error,
        stat_err_jy=error,
        zero_point=1.0,
        used=True,
        pointing_dec_deg=55.0,
    )


def test_the_measures_are_their_formulae(tmp_path):
    flux = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.8])
    curves.write(tmp_path / "lc", table({"J1": flux}, 0.05))
    found = metrics.measure(tmp_path / "lc", 3.0).iloc[0]
    assert found["weighted_mean_jy"] == pytest.approx(1.0)
    assert found["eta"] == pytest.approx(((flux - 1.0) ** 2).sum() / 0.05**2 / 5)
    assert found["v"] == pytest.approx(flux.std(ddof=1))
    assert found["vs_max"] == pytest.approx(0.4 / (0.05 * np.sqrt(2)), rel=1e-5)
    assert found["m_max"] == pytest.approx(0.4 / 1.0, rel=1e-5)
    assert found["sigma_deviation"] == pytest.approx(0.2 / flux.std(ddof=1), rel=1e-5)
    assert found["von_neumann"] == pytest.approx((np.diff(flux) ** 2).sum() / 5 / flux.var(), rel=1e-5)
    assert found["modulation"] == pytest.approx(np.sqrt(flux.var(ddof=1) - 0.05**2), rel=1e-5)


def test_noise_has_the_measures_of_noise(tmp_path):
    rng = np.random.default_rng(5)
    n, number = 400, 60
    curves.write(
        tmp_path / "lc",
        table({f"J{k:03d}": 1.0 + 0.02 * rng.standard_normal(n) for k in range(number)}, 0.02),
    )
    found = metrics.measure(tmp_path / "lc", 4.0)
    total = n * number
    assert abs(found["eta"].mean() - 1.0) < 4 * np.sqrt(2 / total)
    assert abs(found["von_neumann"].mean() - 2.0) < 4 * 2 / np.sqrt(total)
    sf = np.stack(found["sf_lag"].to_numpy())[:, :8]
    # each lag has some 300 pairs of variance 2 x (2 %)² x 2: the mean over 60 sources is known to 1.5 % of 8e-4
    assert np.abs(np.nanmean(sf, axis=0)).max() < 6e-5
    assert abs(np.stack(found["vs_lag"].to_numpy())[:, 0].mean() - np.sqrt(2 / np.pi)) < 0.03
    assert not found["variable"].any()
    assert (found["log10_p"] > -5).all()


def test_slow_changes_show_at_long_lags(tmp_path):
    t = np.arange(300)
    curves.write(tmp_path / "lc", table({"J1": 1.0 + 0.3 * np.sin(2 * np.pi * t / 256)}, 1e-3))
    found = metrics.measure(tmp_path / "lc", 3.0).iloc[0]
    sf = np.asarray(found["sf_lag"])
    assert sf[0] < 1e-3
    # half a period: (2 x 0.3 sin)² on average 0.18; within the window the phases are not uniform
    assert sf[structure.LAGS_D.index(128.0)] == pytest.approx(0.18, rel=0.3)
    assert found["von_neumann"] < 0.01
    assert found["n_lag"][0] == 299


def test_the_extreme_pair_is_that_of_all_pairs():
    rng = np.random.default_rng(2)
    for _ in range(20):
        f, e = rng.normal(1.0, 0.3, 50), rng.uniform(0.01, 0.5, 50)
        vs = np.abs(f[:, None] - f) / np.hypot(e[:, None], e)
        best, m = extreme_pair(f, e)
        i, j = np.unravel_index(vs.argmax(), vs.shape)
        assert best == pytest.approx(vs.max())
        assert m == pytest.approx(abs(f[i] - f[j]) / abs(f[i] + f[j]) * 2)


def test_the_population_sets_the_threshold_at_its_own_signal_to_noise():
    rng = np.random.default_rng(6)
    snr = 10 ** rng.uniform(1, 3, 1000)
    v = 1.0 / snr * np.exp(0.05 * rng.standard_normal(1000))
    v[:20] *= 2.0
    # a thousand epochs of noise alone would give 0.02
    found = excess(pd.Series(v), pd.DataFrame({"snr_median": snr, "n_epochs": 1000}), 0.5)
    # a factor of two is ln 2 / 0.05 = 14 widths; the trend within a bin of 100 is interpolated
    assert np.median(found[:20]) == pytest.approx(np.log(2) / 0.05, rel=0.25)
    assert np.abs(np.median(found[20:])) < 0.3
    assert np.isnan(
        excess(pd.Series(v[:10]), pd.DataFrame({"snr_median": snr[:10], "n_epochs": 100}), 0.5)
    ).all()


def test_thirty_constant_sources_of_eight_epochs_are_called_constant():
    rng = np.random.default_rng(11)
    called, spread = 0, []
    for _ in range(200):
        snr = 10 ** rng.uniform(2, 2.6, 30)
        f = 1.0 + rng.standard_normal((8, 30)) / snr
        eta, v = f.var(axis=0, ddof=1) * snr**2, f.std(axis=0, ddof=1) / f.mean(axis=0)
        table = pd.DataFrame({"snr_median": snr, "n_epochs": 8})
        eta_sigma, v_sigma = excess(pd.Series(eta), table, 1.0), excess(pd.Series(v), table, 0.5)
        called += int(((eta_sigma > 3) & (v_sigma > 3)).sum())
        spread.append(eta_sigma)
    # η of seven degrees is 3 widths above its median (a factor of 5.6) once in 10⁵; medians of ten move that a little
    assert called <= 2
    # the width of ln χ² is the one that noise has, or the bin's own where that is larger
    assert 0.75 < np.std(spread) < 1.05


def test_each_transit_is_an_epoch_of_its_own():
    ra = np.array([0.0, 120.0, 359.9])
    first = 60000.0 + ra / 360.0 * 0.99727
    numbers = epochs(first[:, None] + np.arange(400) * 0.9972695663, ra[:, None])
    assert (np.diff(numbers, axis=1) == 1).all()


def test_the_page_needs_no_other_file_and_shows_what_varies(tmp_path):
    rng = np.random.default_rng(7)
    sources = {f"J0830{k:02d}.0+550000": 1.0 + 0.01 * rng.standard_normal(60) for k in range(40)}
    sources["J083000.0+550000"] *= 1.0 + 0.3 * (np.arange(60) > 30)
    curves.write(tmp_path / "lc", table(sources, 0.01))
    found = metrics.measure(tmp_path / "lc", 3.0)
    epochs_table = pd.DataFrame(
        {
            "mosaic": ["2025-10-30/0830+55", "2025-10-31/0830+55"],
            "mjd": [60978.0, 60979.0],
            "rows": [40, 3],
            "zero_point": [1.02, np.nan],
            "zero_point_err": [0.001, np.nan],
            "n_references": [40, 3],
            "normalised": [True, False],
            "reason": ["", "3 references, fewer than min_references 5"],
        }
    )
    facts = {
        "threshold_sigma": 3.0,
        "error_model": {"noise_factor": 1.0, "residual": 0.004, "residual_edge": 0.01, "n_sources": 40},
        "made": "2025-11-01 00:00 UTC",
        "versions": {"contimg": "0"},
    }
    text = page(found, epochs_table, tmp_path / "lc", facts)
    assert (
        f"40 sources, 2 mosaics, 1 of them on the common scale; {found['variable'].sum()} sources vary"
        in text
    )
    assert 'data-source="J083000.0+550000"' in text
    assert "fewer than min_references 5" in text
    assert "src=" not in text
    assert "http" not in text
    assert "NaN" not in text.split('id="data">')[1].split("</script>")[0]
    assert stability(found)["n_bright"] == 40
