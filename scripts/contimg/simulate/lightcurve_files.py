"""Simulated photometry as the files that the photometry rule writes, and the truth beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from contimg.core.errors import ConfigError
from contimg.simulate.lightcurves import FREQ_HZ, Mosaic, Simulation, calibrator_name

METADATA_KEY = b"contimg"
NOT_SEEN = 32
"""Bit of `flags`: below 5 σ, so that an upper limit is stated."""
_NAME = pa.dictionary(pa.int32(), pa.string())
_F64, _F32, _INT = pa.float64(), pa.float32(), pa.int32()
SCHEMA = pa.schema(
    [
        ("source_id", pa.string()),
        ("ra_deg", _F64),
        ("dec_deg", _F64),
        ("mjd", _F64),
        ("mosaic", _NAME),
        ("flux_jy", _F32),
        ("flux_err_jy", _F32),
        ("local_rms_jy", _F32),
        ("snr", _F32),
        ("flags", _INT),
        ("flux_int_jy", _F32),
        ("flux_int_err_jy", _F32),
        ("background_jy", _F32),
        ("stat_err_jy", _F32),
        ("cal_err_jy", _F32),
        ("upper_limit_jy", _F32),
        ("pb", _F32),
        ("beam_distance_deg", _F32),
        ("n_tiles", _INT),
        ("tiles", _NAME),
        ("neighbour_arcsec", _F32),
        ("bmaj_arcsec", _F32),
        ("bmin_arcsec", _F32),
        ("bpa_deg", _F32),
        ("freq_hz", _F64),
        ("flux_vis_jy", _F32),
        ("flux_vis_err_jy", _F32),
        ("band_slope", _F32),
        ("band_slope_err", _F32),
        ("n_vis_tiles", _INT),
        ("pointing_dec_deg", _F32),
        ("caltable", _NAME),
        ("calibrator", _NAME),
        ("hour_ut", _F32),
        ("solar_elongation_deg", _F32),
    ]
)


def photometry(simulation: Simulation, mosaic: Mosaic) -> pd.DataFrame:
    """The table of a mosaic, every column of the photometry rule's."""
    rows = simulation.measure(mosaic)
    noise, flux = rows["stat_err_jy"].to_numpy(), rows["flux_jy"].to_numpy()
    seen = flux >= 5.0 * noise
    calibrator = calibrator_name(mosaic.calibrator)
    sun_deg = 280.46 + 0.9856474 * (mosaic.mjd - 51544.5)
    away = np.abs((rows["ra_deg"].to_numpy() - sun_deg + 180.0) % 360.0 - 180.0)
    return rows.assign(
        mosaic=f"{mosaic.date}/{mosaic.name}",
        flux_err_jy=np.hypot(noise, rows["cal_err_jy"]),
        snr=flux / noise,
        flags=np.where(seen, 0, NOT_SEEN),
        flux_int_jy=flux,
        flux_int_err_jy=np.hypot(noise, rows["cal_err_jy"]),
        background_jy=0.0,
        upper_limit_jy=np.where(seen, np.nan, np.maximum(flux, 0.0) + 3.0 * noise),
        n_tiles=3,
        tiles=f"{mosaic.date[:10]}T00:00:00",
        bmaj_arcsec=14.0,
        bmin_arcsec=12.0,
        bpa_deg=0.0,
        freq_hz=FREQ_HZ,
        n_vis_tiles=3,
        pointing_dec_deg=simulation.pointing_dec_deg(mosaic.pointing),
        caltable=f"cal/{mosaic.date[:10]}/{mosaic.date[:10]}T00:00:00_{calibrator}",
        calibrator=calibrator,
        hour_ut=(rows["mjd"] % 1.0) * 24.0,
        solar_elongation_deg=away,
    )[SCHEMA.names]


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write one photometry table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {
        "status": "ok",
        "reason": None,
        "inputs": [],
        "caltables": [],
        "parameters": {},
        "metrics": {},
        "versions": {"contimg": "simulated"},
        "format": 1,
    }
    schema = SCHEMA.with_metadata({METADATA_KEY: json.dumps(about)})
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False, safe=False)
    pq.write_table(table.replace_schema_metadata(schema.metadata), path, compression="zstd")


def simulate_lightcurves(simulation: Simulation, out_dir: Path, *, days: range | None = None) -> list[Path]:
    """Write the photometry tables of a simulation, and its truth.

    Parameters
    ----------
    simulation : Simulation
        What is simulated.
    out_dir : Path
        Becomes a products tree: `photometry/{date}/{mosaic}.parquet`. Beside it stand `truth.json` (the options),
        `truth.sources.parquet` (`Simulation.sources`) and `truth.mosaics.parquet` (each mosaic's flux scale).
    days : range, optional
        Only the nights of these days.

    Returns
    -------
    list of Path
        The photometry tables.

    Raises
    ------
    ConfigError
        Other photometry is there already.
    """
    if days is None and (out_dir / "photometry").is_dir():
        raise ConfigError(f"{out_dir}: found photometry in it; write into another directory, or remove it")
    written, scales = [], []
    for mosaic in simulation.mosaics():
        if days is not None and mosaic.day not in days:
            continue
        path = out_dir / "photometry" / mosaic.date / f"{mosaic.name}.parquet"
        write_table(path, photometry(simulation, mosaic))
        written.append(path)
        scales.append(asdict(mosaic))
    simulation.sources.to_parquet(out_dir / "truth.sources.parquet")
    pd.DataFrame(scales).to_parquet(out_dir / "truth.mosaics.parquet")
    (out_dir / "truth.json").write_text(json.dumps(simulation.options.as_dict(), indent=1) + "\n")
    return written
