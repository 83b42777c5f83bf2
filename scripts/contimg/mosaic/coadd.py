"""Add the tiles of a window into a mosaic, one tile at a time.

For every pixel of the mosaic, over the tiles that reach it:

    I = sum(w_i I_i) / sum(w_i),   w_i = 1 / rms_i^2,   rms = 1 / sqrt(sum(w_i))        (method weighted)
    I = sum(I_i) / n,              rms = sqrt(sum(rms_i^2)) / n                         (method mean)

I_i is the tile corrected for its primary beam and rms_i its local noise (apparent rms over primary beam),
so that the weighted mean is the least-squares one (Sault, Staveley-Smith & Brouw 1996, A&AS 120, 375, eq.
3, with a noise that varies over each field). The noise of different tiles is independent: they are
different times.

Nothing but the sums and one tile is in memory, and the work is proportional to the number of tiles: each is
interpolated only where it falls. What comes out is described in docs/mosaic.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.errors import InputError, Rejected
from contimg.mosaic import output
from contimg.mosaic.common_beam import GaussianBeam, axes_jacobian, common_covariance, kernel_covariance
from contimg.mosaic.grid import MosaicGrid, grid_from_tiles
from contimg.mosaic.regrid import ORDERS, Sums, add_tile
from contimg.mosaic.tiles import TileImage, inspect_tiles, load_planes, tile_record

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from contimg.mosaic.options import MosaicOptions


class MosaicRejected(Rejected):
    """Too few good tiles for a mosaic; ``tiles`` lists each one and why."""

    def __init__(self, reason: str, tiles: list[dict[str, Any]]) -> None:
        super().__init__(reason)
        self.tiles = tiles


def make_mosaic(
    tile_dirs: Sequence[Path],
    out_dir: Path,
    *,
    name: str,
    grid: MosaicGrid | None = None,
    options: MosaicOptions,
    stopped: Mapping[str, str] | None = None,
    factors: Mapping[str, float] | None = None,
    threads: int = 1,
    origin: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a mosaic of tile images.

    Writes ``{name}.fits`` (Jy/beam), ``{name}.weights.fits`` (inverse variance, (Jy/beam)^-2),
    ``{name}.rms.fits`` (Jy/beam) and ``{name}.png`` into ``out_dir``.

    Parameters
    ----------
    tile_dirs : sequence of Path
        ``images/{date}/{tile}`` directories. Ones that are missing, rejected or unreadable are recorded and
        left out.
    out_dir : Path
        Made if it is not there.
    name : str
        Stem of the files and OBJECT of their headers.
    grid : MosaicGrid or None
        Pixels of the mosaic; None: whatever covers the good tiles.
    options : MosaicOptions
        ``min_tiles``, ``pb_limit``, ``method``, ``beam``, ``interpolation``.
    stopped : mapping of str to str, optional
        Directories that failed a gate, and why: recorded as rejected and left out.
    factors : mapping of str to float, optional
        What tiles, by name, are divided by: their scale over that of the others.
    threads : int
        Blocks of pixels and FFTs worked on at once.
    origin : dict or None
        Where the product comes from: ``software`` becomes ORIGIN (default contimg), ``sidecar`` SIDECAR
        (default status.json), all else a HISTORY line each.

    Returns
    -------
    dict
        ``metrics`` (numbers of the mosaic, see docs/mosaic.md) and ``tiles``, a list of ``tile``,
        ``status`` (ok, rejected, missing, unreadable), ``reason``, ``weight`` (fraction of all weight) and
        ``path``.

    Raises
    ------
    MosaicRejected
        If fewer than ``options.min_tiles`` tiles are good.
    ConfigError
        If the tiles span more than one SIN projection is used for.
    """
    tiles, records = inspect_tiles(tile_dirs, stopped)
    _require(len(tiles), records + [tile_record(t.path, "ok", None) for t in tiles], options.min_tiles)
    if grid is None:
        grid = grid_from_tiles([(tile.wcs, tile.shape) for tile in tiles])
    wcs = grid.wcs()

    turned = [_in_axes_of(tile, wcs) for tile in tiles]
    target = common_covariance(turned) if options.beam == "common" else None
    sums = Sums.zeros(grid.shape, method=options.method)
    used: list[tuple[TileImage, float]] = []
    for tile in tiles:
        try:
            factor = (factors or {}).get(tile.name, 1.0)
            weight = _add(tile, sums, wcs=wcs, target=target, options=options, threads=threads, factor=factor)
        except InputError as error:
            records.append(tile_record(tile.path, "unreadable", str(error)))
            continue
        if weight > 0:
            used.append((tile, weight))
        else:
            records.append(tile_record(tile.path, "ok", "outside the mosaic: adds no pixel"))

    total = sum(weight for _, weight in used)
    records += [tile_record(tile.path, "ok", None, weight=weight / total) for tile, weight in used]
    records.sort(key=lambda record: record["tile"])
    _require(len(used), records, options.min_tiles)

    image, inverse_variance = sums.finish()
    shares = np.array([weight / total for _, weight in used])
    if target is None:
        own = dict(zip((tile.path for tile in tiles), turned, strict=True))
        target = np.einsum("i,ijk->jk", shares, [own[tile.path] for tile, _ in used])
    header = output.make_header(
        grid,
        name=name,
        tiles=[tile for tile, _ in used],
        shares=shares,
        beam=GaussianBeam.from_covariance(target),
        options=options,
        origin=origin or {},
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    metrics = output.write_planes(out_dir, name, header, image, inverse_variance, grid=grid)
    return {"metrics": metrics, "tiles": records}


def _require(good: int, records: list[dict[str, Any]], min_tiles: int) -> None:
    """Raise MosaicRejected, with a line that counts the reasons, if too few tiles are good."""
    if good >= max(min_tiles, 1):
        return
    counts: dict[str, int] = {}
    for record in records:
        what = "outside the mosaic" if record["status"] == "ok" and record["reason"] else record["status"]
        counts[what] = counts.get(what, 0) + 1
    listing = ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none asked for"
    raise MosaicRejected(
        f"{good} good tiles, fewer than mosaic.min_tiles={min_tiles} (of {len(records)}: {listing})",
        sorted(records, key=lambda record: record["tile"]),
    )


def _in_axes_of(tile: TileImage, wcs: WCS) -> np.ndarray:
    """Covariance of a tile's beam in the (l, m) axes of the mosaic, degrees squared."""
    jacobian = axes_jacobian(tile.wcs, wcs)
    return jacobian @ tile.beam.covariance() @ jacobian.T


def _add(
    tile: TileImage,
    sums: Sums,
    *,
    wcs: WCS,
    target: np.ndarray | None,
    options: MosaicOptions,
    threads: int,
    factor: float = 1.0,
) -> float:
    """Read a tile, divide it by its factor, bring it to the target beam (in the mosaic's axes) and add it.

    Returns its weight.
    """
    kernel_px, jy_scale = None, 1.0
    if target is not None:
        back = np.linalg.inv(axes_jacobian(tile.wcs, wcs))
        own, wanted = tile.beam.covariance(), back @ target @ back.T
        kernel = kernel_covariance(own, wanted)
        if kernel.any():
            to_pixels = np.linalg.inv(np.asarray(tile.wcs.pixel_scale_matrix))
            kernel_px = to_pixels @ kernel @ to_pixels.T
            jy_scale = float(np.sqrt(np.linalg.det(own + kernel) / np.linalg.det(own)))
    image, weight = load_planes(
        tile, pb_limit=options.pb_limit, kernel_px=kernel_px, jy_scale=jy_scale, threads=threads
    )
    if factor != 1.0:
        image /= np.float32(factor)
        weight *= np.float32(factor**2)
    return add_tile(
        sums,
        image,
        weight,
        wcs_tile=tile.wcs,
        wcs_mosaic=wcs,
        order=ORDERS[options.interpolation],
        threads=threads,
    )
