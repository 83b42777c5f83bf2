"""The job that makes a mosaic: tile images and the verdicts on them to a mosaic's directory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.core.kinds import STATUS
from contimg.core.products import building, reject_directory, status, write_json
from contimg.mosaic.options import MosaicOptions
from contimg.mosaic.windows import Window

if TYPE_CHECKING:
    from contimg.mosaic.grid import MosaicGrid


MIN_SNR = 20.0
"""Of sources that tell the scale of a tile."""


@dataclass(frozen=True)
class Mosaic:
    """Tile images to a mosaic."""

    window: Window
    images: tuple[str, ...]
    verdicts: tuple[str, ...]  # on the tiles: one that failed goes into no mosaic
    directory: str
    options: MosaicOptions
    threads: int

    def make(self) -> str:
        """Weigh and add the good tiles, one at a time."""
        from contimg.mosaic.coadd import make_mosaic

        scale = self._scale()
        with building(Path(self.directory)) as part:
            part.mkdir()
            made = make_mosaic(
                [Path(path) for path in self.images],
                part,
                name=self.window.name,
                grid=self._grid(),
                options=self.options,
                stopped=self._stopped(),
                factors=scale,
                threads=self.threads,
                origin={"sidecar": f"{self.directory}/{STATUS}"},
            )
            metrics, tiles = made["metrics"], made["tiles"]
            record = status(
                inputs=[*self.images, *self.verdicts],
                parameters={"mosaic": self.options.model_dump(mode="json"), "window": vars(self.window)},
                metrics=metrics,
                tiles=tiles,
                factors=scale,
            )
            write_json(part / STATUS, record)
        used = sum(tile["status"] == "ok" for tile in tiles)
        return f"{used} of {len(tiles)} tiles, rms {1e3 * metrics['rms_median_jy']:.2f} mJy"

    def _stopped(self) -> dict[str, str]:
        """Tiles that failed a gate, and why."""
        from contimg.qa.verdict import stopped

        return stopped(Path(path) for path in self.verdicts)

    def _scale(self) -> dict[str, float]:
        """What tiles are divided by, where that is asked for: only those whose scale certainly differs."""
        if self.options.scale == "none":
            return {}
        from contimg.core.products import read_json
        from contimg.qa.response import of_verdicts
        from contimg.qa.verdict import PASS

        records = [(read_json(Path(path)), Path(path)) for path in self.verdicts]
        scale = of_verdicts([entry for entry in records if entry[0]["verdict"] == PASS], min_snr=MIN_SNR)
        factors = {} if scale is None else scale.factors
        return {
            tile: round(factor.value, 4)
            for tile, factor in factors.items()
            if abs(factor.value - 1.0) > 3.0 * factor.error
        }

    def _grid(self) -> MosaicGrid | None:
        """The pixel grid: fixed for a sidereal window of a strip, from the tiles otherwise.

        Cell and tile radius are rounded to rungs of fixed ladders, so that all nights get the same grid.
        """
        from contimg.mosaic.grid import image_cell_arcsec, ladder_cell, window_grid
        from contimg.mosaic.tiles import inspect_tiles

        good, _ = inspect_tiles([Path(path) for path in self.images], self._stopped())
        if self.window.center_ra_deg is None or not good:
            return None
        cell = image_cell_arcsec(good[0].wcs)
        radius_deg = math.ceil(max(good[0].shape) * cell / 3600.0 / 2.0 * 10.0) / 10.0
        return window_grid(
            self.window.center_ra_deg,
            self.window.dec_deg,
            self.window.width_minutes,
            radius_deg,
            ladder_cell(cell),
        )

    def reject(self, reason: str) -> None:
        """Leave a directory that says why there is no mosaic, and what became of each tile."""
        from contimg.mosaic.tiles import inspect_tiles, tile_record

        good, left_out = inspect_tiles([Path(path) for path in self.images], self._stopped())
        tiles = left_out + [tile_record(tile.path, "ok", None) for tile in good]
        tiles.sort(key=lambda tile: tile["tile"])
        parameters = {"window": vars(self.window)}
        reject_directory(
            Path(self.directory), status(reason, inputs=self.images, parameters=parameters, tiles=tiles)
        )
