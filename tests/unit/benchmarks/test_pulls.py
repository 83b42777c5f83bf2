"""Pulls: their width is that of what was put in, and the systematic error is found again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from benchlib import pull_tables, pulls

FLOOR = 0.01


def fluxes(count=4000, seed=3):
    """Fluxes with noise of 1 mJy and a relative error of `FLOOR`."""
    rng = np.random.default_rng(seed)
    true = 1e-3 * np.exp(rng.uniform(np.log(6.0), np.log(2000.0), count))
    flux = true * (1 + FLOOR * rng.standard_normal(count)) + 1e-3 * rng.standard_normal(count)
    return pd.DataFrame(
        {
            "night": "one",
            "tile": "T",
            "estimator": "tile",
            "source": [f"S{k}" for k in range(count)],
            "true_jy": true,
            "flux_jy": flux,
            "stat_err_jy": 1e-3,
            "response": rng.uniform(0.3, 1.0, count),
            "fitted": True,
        }
    )


def test_the_systematic_error_is_found_and_makes_every_width_one():
    rows = fluxes()
    found = pull_tables.floor_of(rows)
    # of 2000 bright fluxes: 1 / √(2 n) of the width, 1.6 %, four times that
    assert found == pytest.approx(FLOOR, rel=0.06)
    for one in pull_tables.binned(rows, np.full(len(rows), FLOOR)):
        assert one.width == pytest.approx(1.0, abs=4 * one.width_err)
        assert one.ratio == pytest.approx(1.0, abs=4 * one.ratio_err)
    bright = next(one for one in pull_tables.binned(rows, np.zeros(len(rows))) if one.snr[0] == 200.0)
    assert bright.width > 2.0  # noise alone is a fifth of the error there, and no pull counts for more than 3
    assert bright.is_off


def test_a_width_that_chance_explains_is_not_called_off():
    few = pull_tables.Bin((5.0, 7.0), (0.3, 1.1), 20, 10, 1.0, 0.1, 1.3, 1.3)
    assert few.width_err == pytest.approx(1 / np.sqrt(20))
    assert not few.is_off
    assert replace(few, sources=50).is_off  # 0.3 is three errors there
    assert not replace(few, sources=5000, width=1.05).is_off  # as good as was asked for


def test_a_table_has_a_row_for_each_step_and_a_page_keeps_what_is_round_it(tmp_path):
    rows = fluxes(400)
    lines = pull_tables.sections(rows)
    assert sum(line.startswith("| ") and line[2].isdigit() for line in lines) == 5
    page = tmp_path / "page.md"
    page.write_text(f"before\n{pull_tables.BEGIN}\nold\n{pull_tables.END}\nafter\n")
    pull_tables.render(page, lines)
    assert page.read_text().startswith(f"before\n{pull_tables.BEGIN}\n")
    assert page.read_text().endswith(f"{pull_tables.END}\nafter\n")
    assert "old" not in page.read_text()
    assert pulls.from_json("one", pulls.to_json(rows, {})).shape == rows.shape


def test_nights_differ_in_seed_and_strip():
    nights = pulls.nights(8)
    assert len({night.name for night in nights}) == 8
    assert {night.options.dec_deg for night in nights} == {55.2, -5.0}
    assert all(night.options.background_min_jy > 0 for night in nights)
