"""The jobs of a run without Snakemake's graph: what the rule files say, for every tile, transit and mosaic of a night.

Each entry repeats a rule's `input`, `output`, `params` and `threads` (rules/*.smk); a test holds the whole against
`snakemake -n`. Which of the jobs are to be done is `contimg.plan.todo`'s to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from contimg.calibrate.options import SELECTION_KEYS
from contimg.config.model import Config
from contimg.core import names
from contimg.core.kinds import BY_NAME as KINDS
from contimg.core.rules import BY_NAME
from contimg.image.options import APPLIED_BY, load_tiers, resolve_imaging
from contimg.jobs import frame
from contimg.night.night import Night
from contimg.photometry.options import LISTED_BY, MEASURED_BY
from contimg.plan.share import Threads
from contimg.qa.options import INJECTED_BY, NOT_JUDGED_BY
from contimg.telescope.beam import describe_beam
from contimg.variability.tables import state_of_others


@dataclass(frozen=True)
class Recipe:
    """A job as its rule states it.

    Attributes
    ----------
    rule : str
    output, input : tuple of str
        Relative to the products tree, but for raw files and catalogues.
    params : tuple of str
        Representations of the rule's parameters that do not follow from its files: what Snakemake compares with the
        last run's.
    threads : int
    size : float
        In the unit of the rule's needs (`contimg.core.rules`).
    wildcards : mapping of str to str
        Of its log and benchmark.
    """

    rule: str
    output: tuple[str, ...]
    input: tuple[str, ...]
    params: tuple[str, ...]
    threads: int
    size: float
    wildcards: Mapping[str, str]

    @property
    def benchmark(self) -> str:
        """Path of the table of what it cost."""
        log = BY_NAME[self.rule].log.format(**self.wildcards)
        return "benchmarks" + log.removeprefix("logs").removesuffix("log") + "tsv"

    @property
    def disk_mb(self) -> float:
        """Megabytes that it may write."""
        need = BY_NAME[self.rule].need
        return need.disk_mb + need.disk_mb_per_unit * self.size


@dataclass(frozen=True)
class Settings:
    """Representations of the sections of a configuration, as the rules have them among their parameters."""

    flagging: str
    calibration: str
    beam: tuple[str, str]
    catalog: str
    interpolate: str
    imaging: tuple[str, str]
    averaging: tuple[str, str]
    mosaic: str
    judged: str
    injected: str
    flux_snr: str
    listed: str
    measured: str
    variability: str
    ese: str
    backups: str


def settings(config: Config) -> Settings:
    """Take the parameters from a configuration."""

    def of(section: Any, **what: Any) -> str:
        return repr(section.model_dump(mode="json", **what))

    resolved = resolve_imaging(config.imaging, load_tiers())
    return Settings(
        flagging=of(config.flagging),
        calibration=of(config.calibration, exclude=SELECTION_KEYS),
        beam=(of(config.beam), repr(describe_beam(config.beam).get("digest"))),
        catalog=repr(config.catalog_params),
        interpolate=repr(config.calibration.interpolate),
        imaging=(of(config.imaging), of(resolved)),
        averaging=(of(config.imaging, include=APPLIED_BY), of(resolved, include=APPLIED_BY)),
        mosaic=of(config.mosaic),
        judged=of(config.qa, exclude=NOT_JUDGED_BY),
        injected=of(config.qa, include=INJECTED_BY),
        flux_snr=repr(config.qa.flux_snr),
        listed=of(config.photometry, include=LISTED_BY),
        measured=of(config.photometry, include=MEASURED_BY),
        variability=of(config.variability),
        ese=of(config.ese),
        backups=repr(config.registry.backups),
    )


REGISTRIES = ("state/products.sqlite3", "state/cal_registry.sqlite3")
TARGETS: dict[str, Callable[[Night], Iterable[str]]] = {
    "all": Night.up_to_lightcurves,
    "convert": Night.science_sets,
    "calibrate": Night.needed_cal_dirs,
    "apply": Night.calibrated_sets,
    "image": Night.up_to_images,
    "beam": lambda night: [*night.up_to_images(), *night.beams()],
    "mosaic": Night.up_to_mosaics,
    "qa": Night.up_to_qa,
    "photometry": Night.up_to_photometry,
    "ese": lambda night: [*night.up_to_lightcurves(), *([names.ESE_CANDIDATES] if night.measured else [])],
    "publish": Night.up_to_publication,
    "registry": lambda night: REGISTRIES,
}
"""What each target gathers (rules/targets.smk)."""


def recipes(config: Config, night: Night, threads: Threads, target: str) -> list[Recipe]:
    """List every job that products of a night can be made by; what a job needs comes before it.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night
    threads : Threads
        Of the run's jobs (`contimg.plan.share`).
    target : str
        What the run is asked for: the registries come after it.
    """
    rules = _Rules(config, night, threads, settings(config))
    parts = (rules.tiles(), rules.mosaics(), rules.beams(), rules.sources(), rules.dates())
    return [*chain(*parts), rules.registries(target)]


def _sources(verdict: str) -> str:
    return verdict.removesuffix(".json") + ".sources.parquet"


@dataclass(frozen=True)
class _Rules:
    """The rule files, said for one night."""

    config: Config
    night: Night
    threads: Threads
    what: Settings

    def tiles(self) -> Iterator[Recipe]:
        """convert.smk, calibrate.smk, and of image.smk, qa.smk and beam.smk what is made of each tile."""
        night, what, gone = self.night, self.what, self.night.retired
        there = night.tiles.keys() - set(gone.raw)
        for tile in there:
            ms = names.science_ms(tile)
            params = (repr(night.slots(tile)), what.flagging, repr(frame.given_up(ms, self.config.products)))
            yield self._tile(
                "convert_tile", tile, (ms, names.science_sidecar(tile)), night.files(tile), params
            )
        for path, transit in night.transits.items():
            if transit.tile in there:
                of = transit.tile, transit.calibrator.name
                ms = names.calibrator_ms(*of)
                output = (ms, KINDS["calibrator_ms"].sidecar_of(ms), path)
                solved = (repr(night.slots(*of)), what.flagging, what.calibration, *what.beam, what.catalog)
                yield self._tile(
                    "calibrate_transit",
                    transit.tile,
                    output,
                    night.files(*of),
                    solved,
                    calibrator=transit.calibrator.name,
                )
        unset, lost = set(gone.sets), set(gone.lost)
        for tile in night.tiles:
            if tile not in unset:
                yield from self._of_set(tile)
            if tile not in lost:
                verdict = names.tile_verdict(tile)
                judged = (repr(night.pointing(tile)), what.judged, what.catalog)
                made = (verdict, _sources(verdict))
                yield self._tile("qa_tile", tile, made, [names.image_dir(tile)], judged, threads=1)

    def _of_set(self, tile: str) -> Iterator[Recipe]:
        """What is made of a Measurement Set and its caltables."""
        night, what, image = self.night, self.what, names.image_dir(tile)
        data = [names.science_ms(tile), names.science_sidecar(tile), *night.cal_dirs(tile)]
        near = repr(night.nearest(tile))
        imaged = (near, what.interpolate, *what.imaging, *what.beam, what.catalog)
        yield self._tile("image_tile", tile, (image,), data, imaged)
        calibrated, record = names.calibrated_ms(tile), names.injection_record(tile)
        output: tuple[str, ...] = (calibrated, KINDS["calibrated_ms"].sidecar_of(calibrated))
        params: tuple[str, ...] = (near, what.interpolate, *what.averaging, *what.beam)
        yield self._tile("apply_tile", tile, output, data, params)
        params = (near, what.interpolate, what.averaging[0], *what.beam)
        yield self._tile("beam_tile", tile, (names.beam_dir(tile),), [*data, image], params)
        output = (record, record.removesuffix(".json") + ".parquet")
        yield self._tile("inject_tile", tile, output, [*data, image], (*imaged, what.injected))

    def _tile(
        self,
        rule: str,
        tile: str,
        output: tuple[str, ...],
        inputs: Sequence[str],
        params: tuple[str, ...],
        *,
        threads: int | None = None,
        **wildcards: str,
    ) -> Recipe:
        where = {"date": names.tile_date(tile), "tile": tile, **wildcards}
        size = self.night.tiles[tile].bytes / 1e9
        return Recipe(rule, output, tuple(inputs), params, threads or self.threads.tile, size, where)

    def mosaics(self) -> Iterator[Recipe]:
        """mosaic.smk, and of qa.smk, photometry.smk and publish.smk what is made of each mosaic."""
        night, what, frozen = self.night, self.what, set(self.night.retired.frozen)
        for verdict, window in night.mosaic_verdicts.items():
            path, size = window.path, float(len(window.tiles))
            date = verdict.split("/")[1]
            where = {"date": date, "product": window.name}
            images, gates = night.mosaic_images(path), night.mosaic_gates(path)
            kind = names.product_of(path)
            if path not in frozen:
                transit = kind is not None and kind.calibrator is not None
                rule = "mosaic_transit" if transit else "mosaic_window"
                _, one, two = path.split("/")
                of = {"calibrator": one, "date": two} if transit else {"date": one, "mosaic": two}
                inputs = (*images, *gates)
                yield Recipe(rule, (path,), inputs, (what.mosaic,), self.threads.mosaic, size, of)
            output = (verdict, _sources(verdict))
            yield Recipe("qa_mosaic", output, (path, *gates), (what.judged, what.catalog), 1, size, where)
            receipt = names.receipt(date, window.name)
            yield Recipe("publish_mosaic", (receipt,), (path, verdict), (), 1, size, where)

    def beams(self) -> Iterator[Recipe]:
        """beam.smk: the beams of the range."""
        for path in self.night.beams():
            first, last = path.rpartition("/")[2].split("_")
            inputs = tuple(self.night.span_beams(first, last))
            params = (*self.what.beam, self.what.catalog)
            yield Recipe("beam_measure", (path,), inputs, params, 1, 0.0, {"first": first, "last": last})

    def sources(self) -> Iterator[Recipe]:
        """photometry.smk and variability.smk, where there is a list of sources."""
        night, what = self.night, self.what
        if not night.measured:
            return
        inputs = (*night.found(), *self.config.source_files)
        output: tuple[str, ...] = (names.SOURCE_LIST, KINDS["source_list"].sidecar_of(names.SOURCE_LIST))
        yield Recipe("source_list", output, inputs, (what.catalog, what.listed), 1, 0.0, {})
        for verdict, window in night.mosaic_verdicts.items():
            date, table = verdict.split("/")[1], names.photometry(verdict.split("/")[1], window.name)
            inputs = (window.path, verdict, *night.mosaic_images(window.path), names.SOURCE_LIST)
            params: tuple[str, ...] = (repr(night.pointings(date, window.name)), what.measured)
            output = (table, KINDS["photometry"].sidecar_of(table))
            where = {"date": date, "product": window.name}
            yield Recipe("photometry_mosaic", output, inputs, params, 1, float(len(window.tiles)), where)
        tables = night.photometry()
        params = (what.variability, repr(state_of_others(self.config.products, tables)))
        output = (
            names.LIGHTCURVES,
            names.VARIABILITY,
            "variability/epochs.parquet",
            KINDS["lightcurves"].sidecar_of(names.LIGHTCURVES),
            "variability/index.html",
        )
        yield Recipe("lightcurves", output, tuple(tables), params, 2, 0.0, {})
        output = (
            names.ESE_CANDIDATES,
            names.ESE_RECORD,
            "variability/candidates",
            "variability/ese_scores.parquet",
            "variability/notices.json",
        )
        yield Recipe("ese_search", output, (names.LIGHTCURVES,), (what.ese,), 2, 0.0, {})

    def dates(self) -> Iterator[Recipe]:
        """The pages of the nights (qa.smk) and the lists of what was published (publish.smk)."""
        night = self.night
        for date in night.dates():
            verdicts = night.verdicts_of(date)
            inputs = (*verdicts, *night.photometry_of(date))
            params = (repr(night.left_out_of(date)), self.what.flux_snr)
            size = float(len(verdicts))
            yield Recipe("qa_night", (names.night_page(date),), inputs, params, 1, size, {"date": date})
        for date in sorted({verdict.split("/")[1] for verdict in night.mosaic_verdicts}):
            receipts = tuple(night.receipts(date))
            listed = (names.published_list(date),)
            yield Recipe("list_published", listed, receipts, (), 1, 0.0, {"date": date})

    def registries(self, target: str) -> Recipe:
        """registry.smk."""
        inputs = tuple(self.night.registered([target]))
        return Recipe("build_registry", REGISTRIES, inputs, (self.what.backups,), 1, 0.0, {})
