"""Eight nights of images, whose flux scales differ, to light curves: mosaics, photometry and scale, against the truth.

One source is 45 % down in two nights, one is 40 % down in another two, one twice as bright in one; all others are
constant.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from builders.photometry_nights import DATE, NAME, plant, sky
from contimg.core import names
from contimg.photometry import table
from contimg.photometry.job import PhotometryMosaic, SourceList
from contimg.photometry.options import PhotometryOptions
from contimg.sky.catalog import Catalog
from contimg.variability import curves
from contimg.variability.job import Lightcurves
from contimg.variability.options import VariabilityOptions

DATES = [f"2025-10-{day}" for day in range(24, 32)]
SCALES = 1.0 + np.array([0.0, 0.03, -0.04, 0.02, 0.05, -0.02, 0.01, -0.05])
SKY = sky(count=34)
# source: factor by night
EVENTS = {28: {2: 0.55, 3: 0.55}, 20: {5: 0.6, 6: 0.6}, 17: {4: 2.0}}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A products tree with the photometry of eight nights and their light curves."""
    tree = tmp_path_factory.mktemp("nights")
    (tree / "catalog.csv").write_text(
        "name,ra_deg,dec_deg,flux_jy\n"
        + "\n".join(f"C{k},{ra},{dec},{jy}" for k, (ra, dec, jy) in enumerate(SKY))
        + "\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for number, date in enumerate(DATES):
            there = tmp_path_factory.mktemp("night")
            patch.chdir(there)
            bright = [
                (ra, dec, jy * SCALES[number] * EVENTS.get(k, {}).get(number, 1.0))
                for k, (ra, dec, jy) in enumerate(SKY)
            ]
            mosaic = plant(there, bright, seed=number)
            catalog = Catalog(tree / "catalog.csv")
            SourceList(names.SOURCE_LIST, "photometry/sources.json", (), catalog, PhotometryOptions()).make()
            PhotometryMosaic(
                mosaic, names.verdict(DATE, NAME), names.SOURCE_LIST, names.photometry(DATE, NAME),
                f"photometry/{DATE}/{NAME}.json", {}, PhotometryOptions(),
            ).make()  # fmt: skip
            # the builder knows one date: the night becomes its own here
            measured = table.read(there / names.photometry(DATE, NAME))
            measured["mjd"] += (number - DATES.index(DATE)) * names.SIDEREAL_DAY
            measured["mosaic"] = f"{date}/{NAME}"
            out = tree / names.photometry(date, NAME)
            out.parent.mkdir(parents=True)
            table.write(out, measured, table.about(there / names.photometry(DATE, NAME)))
        patch.chdir(tree)
        Lightcurves(VariabilityOptions(), threads=1).make()
    return tree


def curve(tree: Path, number: int) -> pd.DataFrame:
    sources = pd.read_parquet(tree / names.VARIABILITY)
    ra, dec, _ = SKY[number]
    near = np.hypot((sources["ra_deg"] - ra) * np.cos(np.radians(dec)), sources["dec_deg"] - dec)
    rows = curves.read_source(tree / names.LIGHTCURVES, sources["source_id"][near.idxmin()])
    assert near.min() < 1 / 3600
    assert len(rows) == len(DATES)
    return rows


def test_the_scales_of_the_nights_are_found(nights):
    epochs = pd.read_parquet(nights / "variability" / "epochs.parquet")
    assert epochs["normalised"].all()
    found = epochs["zero_point"] / epochs["zero_point"].mean() / (SCALES / SCALES.mean())
    # some 17 references of 50 to 1000 sigma: together they know a scale to 0.1 %
    assert np.abs(found - 1.0).max() < 0.004


def test_constant_sources_are_constant(nights):
    clean = 0
    for number in set(range(len(SKY))) - set(EVENTS):
        rows = curve(nights, number)
        flux, error = rows["flux_norm"].to_numpy(), rows["flux_norm_err"].to_numpy()
        assert (np.abs(flux / np.median(flux) - 1.0) < np.maximum(0.03, 3.0 * error / flux)).all()
        clean += rows["used"].all()
    assert (
        clean >= 10
    )  # the others are near sources so bright that what is left of them counts: flagged, and out


@pytest.mark.parametrize("number", sorted(EVENTS))
def test_events_have_their_depth_on_their_nights(nights, number):
    rows = curve(nights, number)
    assert rows["used"].all()
    flux, error = rows["flux_norm"].to_numpy(), rows["flux_norm_err"].to_numpy()
    quiet = np.array([night not in EVENTS[number] for night in range(len(DATES))])
    level = np.average(flux[quiet], weights=error[quiet] ** -2)
    for night, factor in EVENTS[number].items():
        assert abs(flux[night] / level - factor) < max(0.03 * factor, 3.0 * error[night] / level)
    assert np.abs(flux[quiet] / level - 1.0).max() < max(0.03, 4.0 * error[quiet].max() / level)


def test_what_varies_most_is_what_was_changed(nights):
    sources = pd.read_parquet(nights / names.VARIABILITY)
    changed = {curve(nights, number)["source_id"].iloc[0] for number in EVENTS}
    assert set(sources.nlargest(len(EVENTS), "v")["source_id"]) == changed
