"""One page on a calibration, for the eye: delays, bandpass, gains, phases, and the calibrator corrected by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contimg.core.pictures import BLUE, VERMILION
from contimg.gains.tables import Solutions, read_solutions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POLARISATIONS = (("X", BLUE, "o"), ("Y", VERMILION, "x"))
_MOST_NAMES = 48
_LEAST_PHASE_DEG = 1.0
"""Phases are never drawn on a finer scale than this."""


@dataclass(frozen=True)
class Corrected:
    """The calibrator with its own solutions taken out: 1 + 0i where they are right.

    Attributes
    ----------
    seconds : (nt,)
        Of the time bins, since the first.
    freq_hz : (nchan,)
    in_time : (nt, nant, 2)
        Mean of the band and of an antenna's long baselines; NaN without data.
    in_frequency : (nchan, 2)
        Mean of all long baselines and bins; NaN without data.
    """

    seconds: NDArray[np.float64]
    freq_hz: NDArray[np.float64]
    in_time: NDArray[np.complex128]
    in_frequency: NDArray[np.complex128]


def plot_solutions(
    cal_dir: Path,
    phases: Path,
    corrected: Corrected,
    present: NDArray[np.bool_],
    out_png: Path,
    *,
    title: str,
) -> None:
    """Draw the tables K, BP and G of a directory, the phases solved before, and what they make of their data.

    Parameters
    ----------
    cal_dir
        Holds the tables.
    phases
        The phase table that was applied while the bandpass was solved.
    corrected
        The calibrator's own data, corrected.
    present : (nant,)
        Antennas that have data; the others are not shown.
    out_png
        Where to write.
    title
        Of the page.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    delay, bandpass, gain = (read_solutions(cal_dir / name) for name in ("K", "BP", "G"))
    figure = Figure(figsize=(13, 22), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(6, 2)
    figure.suptitle(title)
    names = [name for name, there in zip(delay.antenna_names, present, strict=True) if there]
    _per_antenna(axes[0, 0], names, np.where(delay.flags, np.nan, delay.values)[0, present, 0], "delay (ns)")
    amplitude = np.where(gain.flags, np.nan, np.abs(gain.values))[0, present, 0]
    _per_antenna(axes[0, 1], names, amplitude, "gain amplitude")
    values = np.where(bandpass.flags, np.nan, bandpass.values)[0][present]
    for pol, (label, *_) in enumerate(POLARISATIONS):
        strength, phase = np.abs(values[..., pol]), np.degrees(np.angle(values[..., pol]))
        limits, reach = _limits(strength), phase_reach(phase)
        _image(
            figure,
            axes[1, pol],
            bandpass,
            names,
            strength,
            f"bandpass amplitude, {label}",
            "cividis",
            limits,
        )
        colours = "twilight" if reach == 180.0 else "PuOr"
        _image(
            figure,
            axes[2, pol],
            bandpass,
            names,
            phase,
            f"bandpass phase (deg), {label}",
            colours,
            (-reach, reach),
        )
    _phase_tracks(axes[3, 0], read_solutions(phases))
    _per_antenna(
        axes[3, 1], names, np.where(bandpass.flags, np.nan, bandpass.snr)[0][present], "bandpass S/N"
    )
    _corrected(axes[4:], corrected)
    figure.savefig(out_png, dpi=80)


def phase_reach(phase_deg: NDArray[np.float64]) -> float:
    """Ends of the scale of phases: 99 % of them lie within, at least 1 degree, or all 180 beyond 90."""
    finite = np.abs(phase_deg[np.isfinite(phase_deg)])
    reach = float(np.percentile(finite, 99)) if finite.size else 0.0
    return 180.0 if reach > 90.0 else max(reach, _LEAST_PHASE_DEG)


def _ticks(names: Sequence[str]) -> tuple[NDArray[np.int_], list[str]]:
    """Places and names of the antennas that are named: all, or each second, third …"""
    step = -(-len(names) // _MOST_NAMES)
    return np.arange(0, len(names), max(step, 1)), list(names)[:: max(step, 1)]


def _per_antenna(axes: Axes, names: list[str], values: NDArray[np.float64], label: str) -> None:
    """One point an antenna and polarisation, the median where there are channels; hatched where one has none."""
    if values.ndim == 3:
        good = np.asarray(np.isfinite(values).any(axis=1))
        filled = np.where(good[:, np.newaxis, :], values, 0.0)
        values = np.where(good, np.nanmedian(filled, axis=1), np.nan)
    for pol, (name, colour, marker) in enumerate(POLARISATIONS):
        axes.plot(np.arange(len(names)), values[:, pol], marker, ms=4, color=colour, label=name)
    for place in np.flatnonzero(~np.isfinite(values).all(axis=1)):
        axes.axvspan(place - 0.5, place + 0.5, facecolor="none", edgecolor="0.6", hatch="////", lw=0)
    axes.set_xticks(*_ticks(names), rotation=90, fontsize=7)
    axes.set_xlim(-0.8, len(names) - 0.2)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("antenna (hatched: flagged)")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _image(
    figure: Figure,
    axes: Axes,
    bandpass: Solutions,
    names: list[str],
    values: NDArray[np.float64],
    label: str,
    colours: str,
    limits: tuple[float, float],
) -> None:
    mhz = bandpass.freq_hz / 1e6
    extent = (float(mhz[0]), float(mhz[-1]), -0.5, len(values) - 0.5)
    axes.patch.set(facecolor="0.9", edgecolor="0.5", hatch="////")  # shows where nothing is drawn: flagged
    picture = axes.imshow(
        values,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        extent=extent,
        cmap=colours,
        vmin=limits[0],
        vmax=limits[1],
    )
    bar = figure.colorbar(picture, ax=axes, extend="both")
    ticks = np.linspace(*limits, 5).tolist()
    bar.set_ticks(ticks, labels=[f"{tick:.3g}" for tick in ticks])
    axes.set_yticks(*_ticks(names), fontsize=6)
    axes.set_title(label, fontsize=10)
    axes.set_xlabel("MHz (hatched: flagged)")
    axes.set_ylabel("antenna")


def _phase_tracks(axes: Axes, phases: Solutions) -> None:
    """Phase of each antenna against time, relative to its mean."""
    seconds = phases.times_mjd_s - phases.times_mjd_s[0]
    for pol, (_, colour, _) in enumerate(POLARISATIONS):
        gains = np.where(phases.flags, np.nan, phases.values)[:, :, 0, pol]
        for antenna in range(gains.shape[1]):
            track = gains[:, antenna]
            if np.isfinite(track).any():
                relative = np.degrees(np.angle(track * np.conj(np.nanmean(track))))
                axes.plot(seconds, relative, "-", lw=0.7, color=colour, alpha=0.6)
    axes.set_xlabel("s since the first solution")
    axes.set_ylabel("phase less its mean (deg)")
    axes.grid(alpha=0.3)


def _corrected(axes: NDArray[np.object_], corrected: Corrected) -> None:
    """Amplitude (left) and phase (right) of the corrected calibrator, against time (above) and channel (below)."""
    mhz = corrected.freq_hz / 1e6
    for pol, (name, colour, marker) in enumerate(POLARISATIONS):
        in_time, in_frequency = corrected.in_time[..., pol], corrected.in_frequency[:, pol]
        look = {"color": colour, "lw": 0.6, "ms": 3.0, "alpha": 0.5}
        axes[0, 0].plot(corrected.seconds, np.abs(in_time), f"{marker}-", **look)
        axes[0, 1].plot(corrected.seconds, np.degrees(np.angle(in_time)), f"{marker}-", **look)
        axes[1, 0].plot(mhz, np.abs(in_frequency), marker, ms=2, color=colour, label=name)
        axes[1, 1].plot(mhz, np.degrees(np.angle(in_frequency)), marker, ms=2, color=colour, label=name)
    for (row, column), one in np.ndenumerate(axes):
        one.axhline(0.0 if column else 1.0, color="k", lw=0.8)
        one.set_title("calibrator, corrected", fontsize=10)
        one.set_ylabel("phase (deg)" if column else "amplitude over the model")
        one.set_xlabel(
            "MHz; mean of all baselines" if row else "s since the first bin; a line for each antenna"
        )
        one.ticklabel_format(axis="y", useOffset=False)
        one.grid(alpha=0.3)
        if row:
            one.legend(fontsize=7)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [1, 99])
    return float(low), float(max(high, low + 1e-9))
