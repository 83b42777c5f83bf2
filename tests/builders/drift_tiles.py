"""Tiles for the tests of the drift model: metadata alone, and simulated raw files converted without gain errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from casacore import tables

from builders.raw_tiles import slots
from builders.synthetic_ms import HEIGHT_M, LATITUDE_DEG, LOCATION, LONGITUDE_DEG, START_JD, antenna_positions
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import convert_tile
from contimg.gains.apply import averaged_meta
from contimg.ms.meta import MsMeta
from contimg.ms.sets import MsWriter, read_meta
from contimg.simulate.night import simulate
from contimg.simulate.options import SimOptions, Source
from contimg.telescope import geometry

POINTING_DEC = np.radians(40.0)
ANTENNAS = ("1", "12", "25", "40", "51", "70", "80", "95", "103", "106", "110", "112", "114", "116")
PERFECT = {
    "gain_amplitude_scatter": 0.0,
    "gain_phase_scatter_deg": 0.0,
    "delay_scatter_ns": 0.0,
    "band_ripple": 0.0,
    "phase_drift": "off",
    "rfi_lines_mhz": (),
    "rfi_bursts": 0,
}


def make_meta(
    *, n_ant: int = 6, n_times: int = 3, n_chan: int = 5, freq_average: int = 1, width_hz: float = 244140.625
) -> MsMeta:
    """A tile phased to the meridian at its middle, channels `freq_average` raw ones wide."""
    times = START_JD + (np.arange(n_times) + 0.5) * 12.884902 / 86400
    ra, dec = (float(np.ravel(v)[0]) for v in geometry.meridian_icrs(times.mean(), POINTING_DEC, LOCATION))
    ant1, ant2 = np.triu_indices(n_ant)
    width = width_hz * freq_average
    return MsMeta(
        tile="2025-10-30T13:00:00",
        times_jd=times,
        integration_s=np.full(n_times, 12.884902),
        antenna_names=[str(k + 1) for k in range(n_ant)],
        antenna_positions_m=2.0 * antenna_positions(n_ant, np.random.default_rng(5)),
        diameters_m=np.full(n_ant, 4.65),
        ant1=ant1,
        ant2=ant2,
        freq_hz=1.4e9 + (np.arange(n_chan) - 0.5 * (n_chan - 1)) * width,
        channel_width_hz=width,
        correlations=(9, 12),
        phase_ra_rad=ra,
        phase_dec_rad=dec,
        field_name="meridian",
        pointing_dec_rad=float(POINTING_DEC),
        longitude_deg=LONGITUDE_DEG,
        latitude_deg=LATITUDE_DEG,
        height_m=HEIGHT_M,
        telescope_name="OVRO_MMA",
    )


def table_of(sources: list[Source] | tuple[Source, ...]) -> pd.DataFrame:
    """The simulator's sources as the fit wants them."""
    columns = (
        "name",
        "ra_deg",
        "dec_deg",
        "flux_jy",
        "spectral_index",
        "major_arcsec",
        "minor_arcsec",
        "angle_deg",
    )
    return pd.DataFrame([{name: getattr(source, name) for name in columns} for source in sources])


def simulated_ms(folder: Path, sources: list[Source] | tuple[Source, ...], **options: object) -> Path:
    """A converted tile whose gains are all 1, and whose weights are those of its noise (of 1 Jy if it has none).

    Conversion measures the noise between neighbouring channels, which here may be so wide that a source's fringe
    turns from one to the next: the weights are written anew.
    """
    settings = {
        "antennas": ANTENNAS,
        "n_integrations": 6,
        "n_subbands": 4,
        "n_channels": 12,
        "dec_deg": 55.2,
        "transit_of": sources[0].name,
        "sources": tuple(sources),
        "seed": 3,
        **PERFECT,
        **options,
    }
    asked = SimOptions(**settings)
    truth = simulate(asked, folder / "raw", threads=2)
    out = folder / "tile.ms"
    flagging = FlaggingOptions(aoflagger=False, antenna_amplitude_sigma=1000.0)
    convert_tile(
        slots(truth.files(0)), truth.tiles[0].name, out, phase_centre=None, flagging=flagging, threads=2
    )
    sigma_jy = (
        asked.sefd_jy / np.sqrt(2 * asked.channel_width_hz * asked.integration_s) if asked.noise else 1.0
    )
    with tables.table(str(out), readonly=False, ack=False) as table:
        table.putcol("WEIGHT", np.full_like(table.getcol("WEIGHT"), sigma_jy**-2))
    return out


def average(ms: Path, out: Path, step: int) -> Path:
    """Average channels, as `contimg.gains.apply` does with gains of 1."""
    meta = read_meta(ms)
    n_bl, n_corr = meta.n_baselines, len(meta.correlations)
    with (
        tables.table(str(ms), ack=False) as table,
        MsWriter(out, averaged_meta(meta, step), weight_spectrum=True) as writer,
    ):
        for i in range(meta.n_times):
            data, flag, weight, uvw = (
                table.getcol(name, i * n_bl, n_bl) for name in ("DATA", "FLAG", "WEIGHT", "UVW")
            )
            w = np.where(flag, 0, weight[:, np.newaxis]).astype(np.float32)
            total = w.reshape(n_bl, -1, step, n_corr).sum(axis=2)
            mean = (w * data).reshape(n_bl, -1, step, n_corr).sum(axis=2)
            mean = np.divide(mean, total, out=np.zeros_like(mean), where=total > 0).astype(np.complex64)
            writer.write_time(i, uvw, mean, total == 0, total.mean(axis=1), total)
    return out


def raw_meta(meta: MsMeta, step: int) -> MsMeta:
    """Metadata of the set before its channels were averaged by `step`."""
    width = meta.channel_width_hz / step
    inside = (np.arange(step) - 0.5 * (step - 1)) * width
    return replace(meta, freq_hz=(meta.freq_hz[:, np.newaxis] + inside).ravel(), channel_width_hz=width)
