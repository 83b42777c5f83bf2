"""One page on a calibration: delays, bandpass, gains and phases, for the eye."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contimg.gains.tables import Solutions, read_solutions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HANDS = ("X", "Y")
COLOURS = ("tab:blue", "tab:orange")


def plot_solutions(cal_dir: Path, phases: Path, out_png: Path, *, title: str) -> None:
    """Draw the tables K, BP and G of a directory, and the phases solved before the bandpass.

    Parameters
    ----------
    cal_dir
        Holds the tables.
    phases
        The phase table that was applied while the bandpass was solved.
    out_png
        Where to write.
    title
        Of the page.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    delay, bandpass, gain = (read_solutions(cal_dir / name) for name in ("K", "BP", "G"))
    figure = Figure(figsize=(13, 15), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(4, 2)
    figure.suptitle(title)
    seen = np.asarray(~delay.flags[0, :, 0].all(axis=-1))
    names = [name for name, there in zip(delay.antenna_names, seen, strict=True) if there]
    _per_antenna(axes[0, 0], names, np.where(delay.flags, np.nan, delay.values)[0, seen, 0], "delay (ns)")
    amplitude = np.where(gain.flags, np.nan, np.abs(gain.values))[0, seen, 0]
    _per_antenna(axes[0, 1], names, amplitude, "gain amplitude")
    values = np.where(bandpass.flags, np.nan, bandpass.values)[0][seen]
    for hand, label in enumerate(HANDS):
        strength = np.abs(values[..., hand])
        limits = _limits(strength)
        _image(figure, axes[1, hand], bandpass, strength, f"bandpass amplitude, {label}", "viridis", limits)
        phase = np.degrees(np.angle(values[..., hand]))
        _image(
            figure, axes[2, hand], bandpass, phase, f"bandpass phase (deg), {label}", "twilight", (-180, 180)
        )
    _phase_tracks(axes[3, 0], read_solutions(phases))
    _per_antenna(axes[3, 1], names, np.where(bandpass.flags, np.nan, bandpass.snr)[0][seen], "bandpass S/N")
    figure.savefig(out_png, dpi=80)


def _per_antenna(axes: Axes, names: list[str], values: NDArray[np.float64], label: str) -> None:
    """One point an antenna and hand; the median where there are channels."""
    if values.ndim == 3:
        good = np.asarray(np.isfinite(values).any(axis=1))
        filled = np.where(good[:, np.newaxis, :], values, 0.0)
        values = np.where(good, np.nanmedian(filled, axis=1), np.nan)
    for hand, (name, colour) in enumerate(zip(HANDS, COLOURS, strict=True)):
        axes.plot(np.arange(len(names)), values[:, hand], "o", ms=4, color=colour, label=name)
    step = max(1, len(names) // 24)
    axes.set_xticks(np.arange(0, len(names), step), names[::step], rotation=90, fontsize=7)
    axes.set_xlabel("antenna")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _image(
    figure: Figure,
    axes: Axes,
    bandpass: Solutions,
    values: NDArray[np.float64],
    label: str,
    colours: str,
    limits: tuple[float, float],
) -> None:
    mhz = bandpass.freq_hz / 1e6
    extent = (float(mhz[0]), float(mhz[-1]), -0.5, len(values) - 0.5)
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
    figure.colorbar(picture, ax=axes)
    axes.set_title(label, fontsize=10)
    axes.set_xlabel("MHz")
    axes.set_ylabel("antenna (in order)")


def _phase_tracks(axes: Axes, phases: Solutions) -> None:
    """Phase of each antenna against time, relative to its mean."""
    seconds = phases.times_mjd_s - phases.times_mjd_s[0]
    for hand, colour in enumerate(COLOURS):
        gains = np.where(phases.flags, np.nan, phases.values)[:, :, 0, hand]
        for antenna in range(gains.shape[1]):
            track = gains[:, antenna]
            if np.isfinite(track).any():
                relative = np.degrees(np.angle(track * np.conj(np.nanmean(track))))
                axes.plot(seconds, relative, "-", lw=0.7, color=colour, alpha=0.6)
    axes.set_xlabel("s since the first solution")
    axes.set_ylabel("phase less its mean (deg)")
    axes.grid(alpha=0.3)


def _limits(values: NDArray[np.float64]) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, [1, 99])
    return float(low), float(max(high, low + 1e-9))
