"""Photometry on the night's page: references in several mosaics tell how stable the flux scale was."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from contimg.qa import photometry_page

DATE = "2025-10-30"
SOURCES, SCATTER, OFF = 400, 0.01, 0.03


def mosaic(rng, scale):
    """Sources of 5 to 500 σ, measured on a flux scale, with scatter; the first twenty are flagged."""
    noise = np.full(SOURCES, 1e-3)
    true = noise * np.geomspace(5.0, 500.0, SOURCES)
    flux = true * scale * (1.0 + SCATTER * rng.standard_normal(SOURCES))
    return pd.DataFrame(
        {
            "source_id": [f"J{k:06d}+550000" for k in range(SOURCES)],
            "mjd": 60978.5 + scale,
            "snr": flux / noise,
            "flux_jy": flux,
            "stat_err_jy": noise,
            "flux_vis_jy": np.where(true > 7 * noise, true, np.nan),
            "flags": np.where(np.arange(SOURCES) < 20, 8, 0),
        }
    )


@pytest.fixture
def measured(tmp_path):
    """Two mosaics, 3 % apart in scale, one that was rejected, and one that has no table."""
    rng = np.random.default_rng(5)
    for name, scale in (("0830+55", 1.0 + OFF), ("0800+55", 1.0)):
        path = tmp_path / "photometry" / DATE / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        mosaic(rng, scale).to_parquet(path)
    said = [("0830+55", None), ("0800+55", None), ("0900+55", "qa: rejected"), ("0930+55", None)]
    photometry = [{"name": name, "reason": reason, "metrics": {}} for name, reason in said]
    return photometry_page.tables(tmp_path, DATE, photometry)


def test_the_mosaics_that_were_measured_come_in_order_of_time(measured):
    assert list(measured) == ["0800+55", "0830+55"]


def test_references_tell_how_far_the_mosaics_of_a_night_are_apart(measured):
    rows = photometry_page.references(measured)
    medians = rows.groupby("mosaic")["ratio"].median()
    n = rows["source_id"].nunique()
    assert 150 < n < SOURCES  # above 20 σ of 5 to 500, evenly in the logarithm: two in three
    # a median of n ratios, each off by the scatter over √2 (about the mean of two): 4 σ of its error, π/2 in variance
    error = 4.0 * np.sqrt(np.pi / 2.0 / n) * SCATTER
    assert medians["0830+55"] - medians["0800+55"] == pytest.approx(OFF / (1.0 + OFF / 2.0), abs=error)
    said = re.search(r"differ by ([\d.]+) %", photometry_page.line(rows))
    assert float(said[1]) == pytest.approx(100.0 * (medians.max() - medians.min()), abs=0.006)
    table = photometry_page.stability(rows)
    assert [row[0] for row in table.rows] == ["0800+55", "0830+55"]
    # half of the references are above 100 σ, where noise and scatter are 1 % each, and about the mean of two 1 % in all
    assert all(0.7 < float(row[3].split()[0]) < 1.4 for row in table.rows)


def test_flagged_faint_and_single_sources_are_no_references(measured):
    rows = photometry_page.references(measured)
    assert rows["snr"].min() >= photometry_page.REFERENCE_SNR
    alone = {"0800+55": measured["0800+55"]}
    assert photometry_page.references(alone).empty
    assert "not compared" in photometry_page.line(photometry_page.references(alone))


def test_the_picture_is_drawn_where_something_was_measured(measured):
    rows = photometry_page.references(measured)
    assert photometry_page.plot(measured, rows).startswith(b"\x89PNG")
    assert photometry_page.plot({}, rows) is None
