"""A small night from raw files to its verdicts in one process: the jobs of the workflow without its engine.

Every job is the one that its rule's script makes; only Snakemake, its processes and its logs are left out, which cost
a small night more than its work does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.calibrate.job import CalibrateTransit
from contimg.config.load import load
from contimg.config.model import Config
from contimg.convert.job import ConvertTile
from contimg.core import names
from contimg.core.errors import Rejected
from contimg.core.products import read_json
from contimg.image.job import ImageTile
from contimg.index.tile import Slot
from contimg.jobs.frame import Job
from contimg.jobs.scratch import Scratch
from contimg.mosaic.job import Mosaic
from contimg.night.night import Night, plan
from contimg.qa.conditions import Pointing
from contimg.qa.job import QaMosaic, QaTile
from contimg.sky.catalog import Catalog


@dataclass(frozen=True)
class Judged:
    """What became of a night.

    Attributes
    ----------
    tables : list of dict
        Sidecars of its caltables.
    tiles, mosaics : list of dict
        Verdicts.
    products : Path
        The tree.
    """

    tables: list[dict[str, Any]]
    tiles: list[dict[str, Any]]
    mosaics: list[dict[str, Any]]
    products: Path


def judge(incoming: Path, products: Path, settings: Mapping[str, Any], *, threads: int = 1) -> Judged:
    """Take a night to the verdicts on its tiles and mosaics.

    Parameters
    ----------
    incoming : Path
        Raw files.
    products : Path
        Tree to make; existing products are not made again.
    settings : mapping
        Further keys of the configuration, as `config/config.yaml` has them.
    threads : int
        Of each job.
    """
    products.mkdir(parents=True, exist_ok=True)
    config = load({"incoming": str(incoming), "products": str(products), **settings}).resolved(products)
    night = plan(config)
    with contextlib.chdir(products):
        run = _Run(config, night, threads)
        tables = [run.calibrate(path) for path in night.needed_cal_dirs()]
        for tile in night.selected:
            run.convert(tile)
            run.image(tile)
        tiles = [run.judge_tile(tile) for tile in night.selected]
        mosaics = [run.judge_mosaic(path) for path in night.windows]
    return Judged(tables, tiles, mosaics, products)


@dataclass(frozen=True)
class _Run:
    config: Config
    night: Night
    threads: int

    @property
    def _scratch(self) -> Scratch:
        Path("scratch").mkdir(exist_ok=True)
        return Scratch(None, Path("scratch").absolute())

    @property
    def _catalog(self) -> Catalog | None:
        return Catalog.of(self.config.catalog_params)

    def _slots(self, tile: str) -> tuple[Slot, ...]:
        return tuple(Slot(**slot) for slot in self.night.slots(tile))

    def calibrate(self, path: str) -> dict[str, Any]:
        transit = self.night.transit(path)
        ms = f"ms/calibrators/{Path(path).parent.name}/{Path(path).name}.ms"
        job = CalibrateTransit(
            tile=transit.tile,
            slots=self._slots(transit.tile),
            calibrator=transit.calibrator,
            catalog=self._catalog,
            ms=ms,
            sidecar=ms.replace(".ms", ".json"),
            tables=path,
            flagging=self.config.flagging,
            calibration=self.config.calibration,
            beam=self.config.beam,
            scratch=self._scratch,
            threads=self.threads,
            log=_log(path),
        )
        return _made(job, Path(path) / "status.json")

    def convert(self, tile: str) -> dict[str, Any]:
        ms = names.science_ms(tile)
        job = ConvertTile(
            tile, self._slots(tile), ms, _beside(ms), self.config.flagging, self._scratch, self.threads
        )
        return _made(job, Path(_beside(ms)))

    def image(self, tile: str) -> dict[str, Any]:
        ms, directory = names.science_ms(tile), names.image_dir(tile)
        job = ImageTile(
            tile=tile,
            ms=ms,
            sidecar=_beside(ms),
            candidates=tuple(self.night.cal_dirs(tile)),
            nearest=self.night.nearest(tile),
            interpolate=self.config.calibration.interpolate,
            imaging=self.config.imaging,
            beam=self.config.beam,
            threads=self.threads,
            catalog=self._catalog,
            directory=directory,
            scratch=self._scratch,
            log=_log(directory),
        )
        return _made(job, Path(directory) / "status.json")

    def judge_tile(self, tile: str) -> dict[str, Any]:
        verdict = names.tile_verdict(tile)
        job = QaTile(
            directory=names.image_dir(tile),
            verdict=verdict,
            sources=verdict.replace(".json", ".sources.parquet"),
            catalog=self._catalog,
            options=self.config.qa,
            pointing=Pointing(**self.night.pointing(tile)),
        )
        return _made(job, Path(verdict))

    def judge_mosaic(self, path: str) -> dict[str, Any]:
        window = self.night.window(path)
        gates = tuple(self.night.mosaic_gates(path))
        job = Mosaic(
            window, tuple(self.night.mosaic_images(path)), gates, path, self.config.mosaic, self.threads
        )
        _made(job, Path(path) / "status.json")
        verdict = names.mosaic_verdict(path, window.name)
        sources = verdict.replace(".json", ".sources.parquet")
        return _made(
            QaMosaic(
                directory=path,
                tile_verdicts=gates,
                verdict=verdict,
                sources=sources,
                catalog=self._catalog,
                options=self.config.qa,
            ),
            Path(verdict),
        )


def _made(job: Job, told: Path) -> dict[str, Any]:
    """Make a product, rejected where its data are bad, and read what its sidecar says."""
    if not told.exists():
        told.parent.parent.mkdir(parents=True, exist_ok=True)
        try:
            job.make()
        except Rejected as reason:
            job.reject(str(reason))
    record: dict[str, Any] = read_json(told)
    return record


def _beside(ms: str) -> str:
    return ms.removesuffix(".ms") + ".json"


def _log(product: str) -> str:
    path = Path("logs", product.replace("/", "_") + ".log")
    path.parent.mkdir(exist_ok=True)
    return str(path)
