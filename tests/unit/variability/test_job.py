"""The job of the light curves: everything beside each other, complete, and a rejection that says why."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from contimg.core.errors import Rejected
from contimg.simulate.lightcurve_files import simulate_lightcurves
from contimg.simulate.lightcurve_options import LightcurveOptions
from contimg.simulate.lightcurves import Simulation
from contimg.variability import curves
from contimg.variability.job import Lightcurves
from contimg.variability.options import VariabilityOptions

FEW = LightcurveOptions(days=6, n_sources=30, ra_max_deg=128.0, flux_min_jy=0.02, red_fraction=0.0)


def test_six_nights_become_light_curves_with_their_page_and_sidecar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tables = simulate_lightcurves(Simulation(dataclasses.replace(FEW, gap_fraction=0.0)), tmp_path)
    line = Lightcurves(VariabilityOptions(), threads=1).make()
    assert line.startswith(f"30 sources in {len(tables)} of {len(tables)} mosaics")
    record = json.loads(Path("variability/lightcurves.json").read_text())
    assert record["status"] == "ok"
    assert record["metrics"]["rows"] == sum(len(pd.read_parquet(path)) for path in tables)
    sources = pd.read_parquet("variability/sources.parquet")
    assert len(sources) == 30
    assert sources["n_epochs"].max() == 6
    assert len(pd.read_parquet("variability/epochs.parquet")) == len(tables)
    assert "30 sources" in Path("variability/index.html").read_text()
    assert len(curves.read_source(Path("variability/lightcurves.parquet"), sources["source_id"][4])) >= 6


def test_without_photometry_the_light_curves_are_rejected_and_say_why(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Lightcurves(VariabilityOptions(), threads=1)
    with pytest.raises(Rejected, match="none of 0 photometry tables"):
        job.make()
    assert not Path("variability/lightcurves.parquet").exists()
    job.reject("no photometry")
    assert json.loads(Path("variability/lightcurves.json").read_text())["reason"] == "no photometry"
    assert pd.read_parquet("variability/lightcurves.parquet").empty
    assert "no photometry" in Path("variability/index.html").read_text()
