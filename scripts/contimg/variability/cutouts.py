"""Cut-outs of mosaics round a source, as small pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

SIZE_PIXELS = 48
MOST = 48


def find(tree: Path, mosaic: str) -> Path | None:
    """Image of a mosaic called `{date}/{name}`; None where it is not in the tree (any more)."""
    folder = tree / "mosaics" / mosaic
    path = folder / f"{folder.name}.fits"
    return path if path.is_file() else None


def around(mjd: Sequence[float], begin: float, end: float, most: int = MOST) -> list[int]:
    """Which epochs are shown: those of the event first, then as many about it, each evenly thinned out."""
    times = np.asarray(mjd)
    length = max(end - begin, 1.0)
    inside = np.nonzero((times >= begin) & (times <= end))[0]
    near = np.nonzero((times >= begin - 1.5 * length) & (times <= end + 1.5 * length))[0]
    beside = np.setdiff1d(near, inside)
    shown = np.concatenate([_thinned(inside, most), _thinned(beside, most - min(len(inside), most))])
    return sorted(int(k) for k in shown)


def _thinned(places: np.ndarray, most: int) -> np.ndarray:
    if len(places) <= most:
        return places
    return places[np.unique(np.linspace(0, len(places) - 1, most).astype(int))] if most else places[:0]


def cutouts(
    tree: Path, mosaics: Sequence[str], chosen: Sequence[int], ra_deg: float, dec_deg: float
) -> Mapping[int, str]:
    """Cut the source out of its mosaics.

    Parameters
    ----------
    tree : Path
        Products tree.
    mosaics : sequence of str
        Mosaic of each epoch, `{date}/{name}`.
    chosen : sequence of int
        Epochs to show.
    ra_deg, dec_deg : float
        Place, ICRS.

    Returns
    -------
    mapping of int to str
        PNG, base64, by epoch; all on one scale, from −3 times the median noise to the median peak.
    """
    from astropy.coordinates import SkyCoord
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.nddata.utils import NoOverlapError
    from astropy.wcs import WCS

    planes: dict[int, np.ndarray] = {}
    for k in chosen:
        path = find(tree, mosaics[k])
        if path is None:
            continue
        with fits.open(path, memmap=True) as file:
            image = file[0].data.squeeze()
            wcs = WCS(file[0].header).celestial
            try:
                cut = Cutout2D(
                    image, SkyCoord(ra_deg, dec_deg, unit="deg"), SIZE_PIXELS, wcs, mode="partial", copy=True
                )
            except NoOverlapError:
                continue
        planes[k] = cut.data
    if not planes:
        return {}
    spread = float(np.nanmedian([np.nanmedian(np.abs(p - np.nanmedian(p))) for p in planes.values()]))
    peak = float(np.nanmedian([np.nanmax(p) for p in planes.values()]))
    return {k: _png(plane, -4.4 * spread, peak) for k, plane in planes.items()}


def _png(plane: np.ndarray, low: float, high: float) -> str:
    import matplotlib.image

    buffer = io.BytesIO()
    matplotlib.image.imsave(
        buffer, plane, vmin=low, vmax=max(high, low + 1e-12), cmap="gray_r", origin="lower", format="png"
    )
    return base64.b64encode(buffer.getvalue()).decode()
