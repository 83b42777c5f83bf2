"""The jobs of a run without Snakemake's graph: what the rule files say, for every tile, transit and mosaic of a night.

Each entry repeats a rule's `input`, `output`, `threads`, and of its `params` what follows from the night (rules/*.smk);
a test holds the whole against `snakemake -n`. Which of the jobs are to be done is `contimg.plan.todo`'s to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from contimg.config.model import Config
from contimg.core import names
from contimg.core.kinds import BY_NAME as KINDS
from contimg.core.rules import BY_NAME
from contimg.jobs import frame
from contimg.night.night import Night
from contimg.plan.settings import settings
from contimg.plan.share import Threads
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
    shown = {rule: tuple(map(repr, values.values())) for rule, values in settings(config).items()}
    rules = _Rules(config, night, threads, shown)
    parts = (rules.tiles(), rules.mosaics(), rules.beams(), rules.sources(), rules.dates())
    return [*chain(*parts), rules.registries(target)]


def _sources(verdict: str) -> str:
    return verdict.removesuffix(".json") + ".sources.parquet"


@dataclass(frozen=True)
class _Rules:
    """The rule files, for one night.

    Attributes
    ----------
    settings : mapping
        Representations of the settings of each rule that has some.
    """

    config: Config
    night: Night
    threads: Threads
    settings: Mapping[str, tuple[str, ...]]

    def tiles(self) -> Iterator[Recipe]:
        """convert.smk, calibrate.smk, and of image.smk, qa.smk and beam.smk what is made of each tile."""
        night, gone = self.night, self.night.retired
        there = night.tiles.keys() - set(gone.raw)
        for tile in there:
            ms = names.science_ms(tile)
            params = (repr(night.slots(tile)), repr(frame.given_up(ms, self.config.products)))
            yield self._tile(
                "convert_tile", tile, (ms, names.science_sidecar(tile)), night.files(tile), params
            )
        for path, transit in night.transits.items():
            if transit.tile in there:
                of = transit.tile, transit.calibrator.name
                ms = names.calibrator_ms(*of)
                output = (ms, KINDS["calibrator_ms"].sidecar_of(ms), path)
                solved = (repr(night.slots(*of)),)
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
                judged = (repr(night.pointing(tile)),)
                made = (verdict, _sources(verdict))
                yield self._tile("qa_tile", tile, made, [names.image_dir(tile)], judged, threads=1)

    def _of_set(self, tile: str) -> Iterator[Recipe]:
        """What is made of a Measurement Set and its caltables."""
        night, image = self.night, names.image_dir(tile)
        data = [names.science_ms(tile), names.science_sidecar(tile), *night.cal_dirs(tile)]
        near = (repr(night.nearest(tile)),)
        yield self._tile("image_tile", tile, (image,), data, near)
        calibrated, record = names.calibrated_ms(tile), names.injection_record(tile)
        output: tuple[str, ...] = (calibrated, KINDS["calibrated_ms"].sidecar_of(calibrated))
        yield self._tile("apply_tile", tile, output, data, near)
        yield self._tile("beam_tile", tile, (names.beam_dir(tile),), [*data, image], near)
        output = (record, record.removesuffix(".json") + ".parquet")
        yield self._tile("inject_tile", tile, output, [*data, image], near)

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
        return self._recipe(rule, output, inputs, params, threads or self.threads.tile, size, where)

    def _recipe(
        self,
        rule: str,
        output: tuple[str, ...],
        inputs: Iterable[str],
        params: tuple[str, ...],
        threads: int,
        size: float,
        wildcards: Mapping[str, str],
    ) -> Recipe:
        """A job; `params` are those beside the settings of its rule."""
        whole = (*params, *self.settings.get(rule, ()))
        return Recipe(rule, output, tuple(inputs), whole, threads, size, wildcards)

    def mosaics(self) -> Iterator[Recipe]:
        """mosaic.smk, and of qa.smk, photometry.smk and publish.smk what is made of each mosaic."""
        night, frozen = self.night, set(self.night.retired.frozen)
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
                yield self._recipe(rule, (path,), inputs, (), self.threads.mosaic, size, of)
            output = (verdict, _sources(verdict))
            yield self._recipe("qa_mosaic", output, (path, *gates), (), 1, size, where)
            receipt = names.receipt(date, window.name)
            yield self._recipe("publish_mosaic", (receipt,), (path, verdict), (), 1, size, where)

    def beams(self) -> Iterator[Recipe]:
        """beam.smk: the beams of the range."""
        for path in self.night.beams():
            first, last = path.rpartition("/")[2].split("_")
            inputs = tuple(self.night.span_beams(first, last))
            yield self._recipe("beam_measure", (path,), inputs, (), 1, 0.0, {"first": first, "last": last})

    def sources(self) -> Iterator[Recipe]:
        """photometry.smk and variability.smk, where there is a list of sources."""
        night = self.night
        if not night.measured:
            return
        inputs = (*night.found(), *self.config.source_files)
        output: tuple[str, ...] = (names.SOURCE_LIST, KINDS["source_list"].sidecar_of(names.SOURCE_LIST))
        yield self._recipe("source_list", output, inputs, (), 1, 0.0, {})
        for verdict, window in night.mosaic_verdicts.items():
            date, table = verdict.split("/")[1], names.photometry(verdict.split("/")[1], window.name)
            inputs = (window.path, verdict, *night.mosaic_images(window.path), names.SOURCE_LIST)
            params = (repr(night.pointings(date, window.name)),)
            output = (table, KINDS["photometry"].sidecar_of(table))
            where = {"date": date, "product": window.name}
            yield self._recipe(
                "photometry_mosaic", output, inputs, params, 1, float(len(window.tiles)), where
            )
        tables = night.photometry()
        params = (repr(state_of_others(self.config.products, tables)),)
        output = (
            names.LIGHTCURVES,
            names.VARIABILITY,
            "variability/epochs.parquet",
            KINDS["lightcurves"].sidecar_of(names.LIGHTCURVES),
            "variability/index.html",
        )
        yield self._recipe("lightcurves", output, tuple(tables), params, 2, 0.0, {})
        output = (
            names.ESE_CANDIDATES,
            names.ESE_RECORD,
            "variability/candidates",
            "variability/ese_scores.parquet",
            "variability/notices.json",
        )
        yield self._recipe("ese_search", output, (names.LIGHTCURVES,), (), 2, 0.0, {})

    def dates(self) -> Iterator[Recipe]:
        """The pages of the nights (qa.smk) and the lists of what was published (publish.smk)."""
        night = self.night
        for date in night.dates():
            verdicts = night.verdicts_of(date)
            inputs = (*verdicts, *night.photometry_of(date))
            params = (repr(night.left_out_of(date)),)
            size = float(len(verdicts))
            yield self._recipe("qa_night", (names.night_page(date),), inputs, params, 1, size, {"date": date})
        for date in sorted({verdict.split("/")[1] for verdict in night.mosaic_verdicts}):
            receipts = tuple(night.receipts(date))
            listed = (names.published_list(date),)
            yield self._recipe("list_published", listed, receipts, (), 1, 0.0, {"date": date})

    def registries(self, target: str) -> Recipe:
        """registry.smk."""
        inputs = tuple(self.night.registered([target]))
        return self._recipe("build_registry", REGISTRIES, inputs, (), 1, 0.0, {})
