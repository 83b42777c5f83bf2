"""Eight nights of two tiles, from raw files to light curves and candidates, against the truth.

One source is 45 % down in two nights, another 40 % in two, a third is twice as bright in one; twenty-nine are constant.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from contimg.core import names
from contimg.core.products import read_json
from contimg.simulate import simulate
from contimg.simulate.options import SimOptions, Source, Variation, preset
from contimg.variability import curves

from .conftest import Made, snakemake, write_calibrators

FIRST = date(2025, 10, 24)
NIGHTS = 8
CALIBRATOR = Source("0834+555", 128.7287, 55.5725, 8.8, -0.4)
# source: factor by night
DIMMED = "S05"
EVENTS = {DIMMED: {2: 0.55, 3: 0.55}, "S16": {5: 0.6, 6: 0.6}, "S27": {4: 2.0}}


def field() -> tuple[Source, ...]:
    """The calibrator, and sources of 0.3 to 1.2 Jy on a jittered grid of 15' round the middle of both tiles."""
    rng = np.random.default_rng(16)
    found = []
    for row in range(-3, 4):
        for column in range(-3, 4):
            north, east = 0.25 * np.array([row, column]) + rng.uniform(-0.03, 0.03, 2)
            if np.hypot(north, east) < 0.8:
                dec = 55.45 + north
                ra = 129.2 + east / np.cos(np.radians(dec))
                found.append((ra, dec, 0.3 * 4 ** rng.uniform()))
    far = [
        (ra, dec, jy)
        for ra, dec, jy in found
        if np.hypot((ra - CALIBRATOR.ra_deg) * np.cos(np.radians(dec)), dec - CALIBRATOR.dec_deg) > 0.15
    ]
    return (CALIBRATOR, *(Source(f"S{k:02d}", *map(float, values), -0.7) for k, values in enumerate(far)))


def night(number: int) -> SimOptions:
    """A night of two tiles; before them, the first has the one transit that calibrates all."""
    variations = []
    for name, nights in EVENTS.items():
        for when, factor in nights.items():
            noon = FIRST + timedelta(days=when)
            variations.append(Variation(name, factor, f"{noon}", f"{noon + timedelta(days=1)}"))
    return replace(
        preset("tiny"),
        start=f"{FIRST + timedelta(days=number)}",
        transit_tile=0 if number == 0 else -1,
        n_tiles=3 if number == 0 else 2,
        antennas=tuple(map(str, (1, 6, 15, 25, 33, 43, 51, 68, 73, 77, 81, 85, 89, 93, 96, 102))),
        n_channels=2,
        sources=field(),
        sefd_jy=4000.0,
        variations=tuple(variations),
        seed=16,
    )


@pytest.fixture(scope="session")
def epochs(tmp_path_factory) -> Made:
    """Eight nights through the workflow, up to the candidates."""
    where = tmp_path_factory.mktemp("epochs")
    incoming, products = where / "incoming", where / "products"
    truths = [simulate(night(number), incoming / str(number)) for number in range(NIGHTS)]
    settings = (
        f"calibrators={write_calibrators(where / 'calibrators.csv', (CALIBRATOR,))}",
        f"catalog={incoming / '0' / 'sources.csv'}",
        "calibration={find_neighbours: false, valid_hours: 240}",
        "imaging={quality_tier: development, imsize: 384}",
        "mosaic={stride_minutes: 60}",
        "ese={null_epochs: 0}",
    )
    done = snakemake(
        "--cores", "2", names.ESE_CANDIDATES, incoming=incoming, products=products, settings=settings
    )
    return Made(truths[0], incoming, products, settings, done.stdout)


@pytest.fixture(scope="session")
def measured(epochs) -> dict[str, pd.DataFrame]:
    """The light curve of each simulated source."""
    folder = epochs.products / names.LIGHTCURVES
    listed = pd.read_parquet(epochs.products / names.VARIABILITY)
    found = {}
    for source in epochs.truth.options.sources:
        east = (listed["ra_deg"] - source.ra_deg) * np.cos(np.radians(source.dec_deg))
        apart = np.hypot(east, listed["dec_deg"] - source.dec_deg)
        assert apart.min() < 1e-4
        rows = curves.read_source(folder, listed["source_id"][apart.idxmin()])
        assert len(rows) == NIGHTS
        found[source.name] = rows
    return found


def allowed(flux: np.ndarray, error: np.ndarray) -> np.ndarray:
    """3 % or 3 sigma, the larger, relative to the flux."""
    return np.maximum(0.03, 3.0 * error / flux)


def test_every_night_is_measured_and_on_the_scale(epochs):
    records = sorted(epochs.products.glob("photometry/*/*.json"))
    assert len(records) == NIGHTS
    for path in records:
        record = read_json(path)
        assert record["status"] == "ok"
        assert record["metrics"]["n_sources"] == len(epochs.truth.options.sources)
        # both estimators of a flux: 30 sources of some 100 sigma in each, whose median is good to 0.3 %
        assert record["metrics"]["image_over_visibilities"] == pytest.approx(1.0, abs=0.02)
    table = pd.read_parquet(epochs.products / "variability" / "epochs.parquet")
    assert table["normalised"].all()
    assert (table["n_references"] >= 20).all()


def test_constant_sources_are_constant_and_right(epochs, measured):
    constant = set(measured) - set(EVENTS)
    assert len(constant) >= 29
    ratios = []
    for name in constant:
        rows, true = measured[name], epochs.truth.source(name)
        flux, error = rows["flux_norm"].to_numpy(), rows["flux_norm_err"].to_numpy()
        assert (np.abs(flux / np.median(flux) - 1.0) < allowed(flux, error)).all(), name
        at = true.flux_jy * (rows["freq_hz"] / 1.4e9) ** true.spectral_index
        ratios.append(np.median(flux / at))
    # one transit calibrates all nights: what its solutions are off by is common to all, some tenths of a per cent
    assert np.median(ratios) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", sorted(EVENTS))
@pytest.mark.parametrize(
    ("flux", "error"), [("flux_norm", "flux_norm_err"), ("flux_vis_jy", "flux_vis_err_jy")]
)
def test_events_have_their_depth_on_their_nights(measured, name, flux, error):
    rows = measured[name]
    values, errors = rows[flux].to_numpy(float), rows[error].to_numpy(float)
    factor = np.array([EVENTS[name].get(night, 1.0) for night in range(NIGHTS)])
    quiet = factor == 1.0
    level = np.average(values[quiet], weights=errors[quiet] ** -2.0)
    assert (np.abs(values / level / factor - 1.0) < allowed(values, errors)).all()


def test_what_varies_is_what_was_changed(epochs, measured):
    table = pd.read_parquet(epochs.products / names.VARIABILITY)
    changed = {measured[name]["source_id"].iloc[0] for name in EVENTS}
    assert set(table.loc[table["variable"], "source_id"]) == changed


def test_the_source_that_was_45_percent_down_is_a_candidate_and_no_constant_one_is(epochs, measured):
    table = pd.read_csv(epochs.products / names.ESE_CANDIDATES).set_index("source_id")
    rows = measured[DIMMED]
    source = rows["source_id"].iloc[0]
    assert source in table.index
    assert set(table.index) <= {measured[name]["source_id"].iloc[0] for name in EVENTS}
    nights = rows["mjd"].iloc[list(EVENTS[DIMMED])]
    assert nights.min() - 0.1 < table.loc[source, "mjd_max"] < nights.max() + 0.1
    assert table.loc[source, "first_detection_mjd"] < rows["mjd"].max()
    assert (epochs.products / "variability" / "candidates" / f"{source}.html").is_file()
    [notice] = [
        one for one in read_json(epochs.products / names.NOTICES) if one["id"][0].startswith(str(source))
    ]
    assert notice["alert_type"] == "initial"
