"""What headers say by themselves: clocks, channels, names."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from contimg.core.constants import SECONDS_PER_DAY
from contimg.firstlight.finding import Finding, judged
from contimg.index.subband import parse_name
from contimg.index.tile import Index, Tile
from contimg.index.uvh5 import Layout, read_layout

BAND_HZ = (1311.25e6, 1498.75e6)
CHANNEL_HZ = 244140.625
INTEGRATION_S = 12.884902
CLOCK_S = 5.0
"""Hosts' clocks name files within this of the first integration's start."""


def header_findings(index: Index, tile: Tile) -> list[Finding]:
    """Findings that need no data: of all tiles' names, and of one tile's headers."""
    layouts = [read_layout(path) for path in tile.files]
    return [
        _clock(index),
        _integration(layouts[0]),
        _channels(layouts, tile),
        _names(layouts[0]),
        _pointing(index),
    ]


def _clock(index: Index) -> Finding:
    late = [
        (name.mjd - tile.start_mjd) * SECONDS_PER_DAY
        for tile in index.tiles
        for path in tile.files
        if (name := parse_name(Path(path).name)) is not None
    ]
    middle, low, high = float(np.median(late)), min(late), max(late)
    return judged(
        "clock",
        "Files are named by their hosts' UTC clocks when the first integration begins",
        abs(middle) <= CLOCK_S,
        f"names are {middle:+.1f} s from the headers' starts ({low:+.1f} to {high:+.1f} s)",
        f"the headers' times or the hosts' clocks are {middle:+.0f} s off: a second is 15 arcsec; find "
        "out which (37 s: TAI "
        "for UTC; half an integration: starts for midpoints)",
        value=middle,
        unit="s",
    )


def _integration(layout: Layout) -> Finding:
    steps = np.diff(layout.times_jd) * SECONDS_PER_DAY
    spacing = float(np.median(steps)) if steps.size else math.nan
    stated = float(layout.integration_s[0])
    even = not steps.size or (abs(spacing - stated) < 1e-3 and float(np.ptp(steps)) < 1e-2)
    return judged(
        "integration",
        f"Integrations of {INTEGRATION_S} s follow each other without gaps",
        even and abs(stated - INTEGRATION_S) < 1e-3,
        f"{stated:.6f} s in the header, midpoints {spacing:.4f} s apart",
        "the pipeline goes by the headers, whatever they say; but if midpoints are not an integration "
        "apart, one of the two "
        "is wrong, and so are noise, smearing or rates",
        value=spacing,
        unit="s",
    )


def _channels(layouts: list[Layout], tile: Tile) -> Finding:
    freq = np.sort(np.concatenate([layout.freq_hz for layout in layouts]))
    width = layouts[0].channel_width_hz
    steps = np.diff(freq)
    gaps = int(np.sum(np.abs(steps - width) > 0.01 * width))
    missing = sum(slot.path is None for slot in tile.slots)
    low, high = freq[0] - width / 2, freq[-1] + width / 2
    order = "fall" if layouts[0].freq_hz[0] > layouts[0].freq_hz[-1] else "rise"
    whole = abs(low - BAND_HZ[0]) < width and abs(high - BAND_HZ[1]) < width
    return judged(
        "channels",
        f"768 channels of {CHANNEL_HZ / 1e3:.3f} kHz from {BAND_HZ[0] / 1e6} to {BAND_HZ[1] / 1e6} MHz, "
        "in 16 subbands that adjoin",
        whole and gaps <= missing and abs(width - CHANNEL_HZ) < 1.0 and freq.size + 48 * missing == 768,
        f"{freq.size} channels of {width / 1e3:.3f} kHz, {low / 1e6:.4f} to {high / 1e6:.4f} MHz, {gaps} "
        f"gaps, {missing} subbands "
        f"missing; channels {order} inside a file",
        "the pipeline sorts by the headers' frequencies and takes any band; check that this band is meant",
        value=width,
        unit="Hz",
    )


def _names(layout: Layout) -> Finding:
    step = {
        int(name) - int(number)
        for name, number in zip(layout.antenna_names, layout.antenna_numbers, strict=True)
        if name.isdigit()
    }
    return judged(
        "antenna_names",
        "An antenna's name is its number + 1: the reference antenna 103 is a name",
        step == {1},
        f"name less number: {', '.join(str(k) for k in sorted(step)) or 'names are no numbers'}",
        "the pipeline speaks of antennas by name; write names as these headers have them in "
        "`calibration.refant` and the like",
    )


def _pointing(index: Index) -> Finding:
    decs = sorted({round(tile.dec_deg, 3) for tile in index.tiles})
    listed = ", ".join(f"{dec:+.3f}" for dec in decs[:6]) + (" …" if len(decs) > 6 else "")
    return judged(
        "strips",
        "The pointing declination stays for hours, and is the same in all files of a tile",
        len(decs) <= max(1, len(index.tiles) // 2),
        f"{len(index.tiles)} tiles at {len(decs)} declinations: {listed} deg",
        "tiles whose declination differs by more than a tenth of a degree share no calibration",
        value=float(len(decs)),
    )
