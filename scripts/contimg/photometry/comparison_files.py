"""What a comparison of two images leaves: the difference as FITS, one picture, a table of sources, numbers as JSON."""

from __future__ import annotations

import math
from pathlib import Path

from astropy.io import fits

from contimg.core.products import write_json
from contimg.photometry.comparison import CHANGED_SIGMA, RATIO_SNR, Comparison

DIFFERENCE, PICTURE, SOURCES, NUMBERS = "difference.fits", "comparison.png", "sources.csv", "comparison.json"
MAX_PIXELS = 700


def write(found: Comparison, folder: Path) -> None:
    """Write the four files into a directory, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    header = found.header.copy()
    header["BTYPE"] = ("Intensity difference", "second image less first")
    header["HISTORY"] = f"second: {found.second.name}"
    header["HISTORY"] = f"first: {found.first.name}"
    fits.PrimaryHDU(found.planes[2], header).writeto(folder / DIFFERENCE, overwrite=True)
    found.sources.to_csv(folder / SOURCES, index=False)
    write_json(folder / NUMBERS, {**found.numbers, "notes": list(found.notes)})
    draw(found, folder / PICTURE)


def table(found: Comparison) -> list[str]:
    """The numbers, as lines for a terminal."""
    numbers, fluxes = found.numbers, found.numbers["fluxes"]
    beams = [
        f"{b['major_arcsec']:.1f} × {b['minor_arcsec']:.1f}″ {b['angle_deg']:.0f}°" for b in numbers["beam"]
    ]
    rows = [
        ("", "first", "second"),
        ("rms, median (mJy/beam)", *(f"{1e3 * rms:.3f}" for rms in numbers["rms_jy"])),
        ("beam", *beams),
        ("frequency (MHz)", *(f"{freq / 1e6:.1f}" for freq in numbers["freq_hz"])),
        ("found in it alone", *(str(fluxes["n_found"][where]) for where in ("first", "second"))),
    ]
    lines = [f"first   {found.first}", f"second  {found.second}"]
    lines += [f"{name:24} {one:>22} {two:>22}" for name, one, two in rows]
    lines.append(
        f"second - first: rms {1e3 * numbers['difference_rms_jy']:.3f} mJy/beam, farthest from zero "
        f"{1e3 * numbers['difference_peak_jy']:+.3f} mJy/beam"
    )
    if fluxes["median_ratio"] is None:
        lines.append(f"second / first: no source above {RATIO_SNR:g} sigma in both")
    else:
        lines.append(
            f"second / first: {fluxes['median_ratio']:.4f} (median of {fluxes['n_ratios']} sources above {RATIO_SNR:g} "
            f"sigma in both), scatter {fluxes['scatter']:.4f}, {fluxes['n_changed']} differ by more than "
            f"{CHANGED_SIGMA:g} sigma"
        )
    return lines + [f"note: {note}" for note in found.notes]


def draw(found: Comparison, path: Path) -> None:
    """First, second and difference side by side, grey from -5 to +50 times the first one's noise, the last ± 5.

    They are cropped to where the first holds data.
    """
    from astropy.wcs import WCS
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import AsinhNorm, Normalize
    from matplotlib.figure import Figure

    from contimg.core.pictures import label_bar, shrink, where_data_are

    held = where_data_are(found.planes[0])
    one, two, difference = (plane[held] for plane in found.planes)
    ny, nx = one.shape
    factor = max(1, math.ceil(max(ny, nx) / MAX_PIXELS))
    noise = 1e3 * found.numbers["rms_jy"][0]
    figure = Figure(figsize=(15, 4.6 * min(max(ny / nx, 0.5), 1.6) + 0.9), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    grid = WCS(found.header).celestial[held][::factor, ::factor]
    sky = AsinhNorm(linear_width=3 * noise, vmin=-5 * noise, vmax=50 * noise)
    shown = [
        (one, "first", sky, "gray_r", (-5, 0, 5, 20, 50)),
        (two, "second", sky, "gray_r", (-5, 0, 5, 20, 50)),
        (difference, "second - first", Normalize(-5 * noise, 5 * noise), "RdBu_r", (-5, 0, 5)),
    ]
    for number, (plane, name, norm, colours, sigmas) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, 3, number, projection=grid)
        small = shrink(plane, factor) if number < 3 else plane[factor // 2 :: factor, factor // 2 :: factor]
        image = axes.imshow(1e3 * small, origin="lower", norm=norm, cmap=colours, interpolation="nearest")
        axes.set_facecolor("0.9")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("Right ascension (ICRS)")
        axes.set_ylabel("Declination (ICRS)" if number == 1 else " ")
        axes.coords[0].set_major_formatter("hh:mm")
        axes.coords[1].set_major_formatter("dd:mm")
        bar = figure.colorbar(image, ax=axes, label="mJy/beam", shrink=0.9, extend="both")
        label_bar(bar, noise, sigmas)
    figure.savefig(path)
