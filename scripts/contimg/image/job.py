"""The jobs of the workflow, from paths to products: what each rule's script calls.

Every class is one job: `make` makes the product and returns one line on it (or raises `Rejected`), `reject`
makes the rejected product. Libraries are imported when a job is made, after its threads are limited.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from contimg.core.errors import Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import building, read_json, reject_directory, status, write_json
from contimg.image.options import APPLIED_BY, ImagingOptions
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    from contimg.gains.between import Between
    from contimg.jobs.scratch import Scratch
    from contimg.ms.private import PrivateSet
    from contimg.sky.catalog import Catalog


@dataclass(frozen=True)
class Calibrated:
    """What image_tile, apply_tile and beam_tile share: the science data of a tile and the caltables it may use."""

    tile: str
    ms: str
    sidecar: str
    candidates: tuple[str, ...]
    nearest: str | None
    interpolate: bool
    imaging: ImagingOptions
    beam: BeamOptions
    threads: int

    made_by: ClassVar[Set[str]] = APPLIED_BY
    """Keys of `imaging` that the product depends on."""

    def choose_gains(self) -> Between:
        """The gains, and the caltables they are from; raises Rejected where there are none or the data are unusable."""
        from contimg.gains.between import gains_of
        from contimg.ms.sets import read_meta

        reason = read_json(Path(self.sidecar))["reason"]
        if reason is not None:
            raise Rejected(f"conversion: {reason}")
        if not self.candidates:
            raise Rejected("no calibrator transit of this strip within calibration.valid_hours in `incoming`")
        candidates = [Path(path) for path in self.candidates]
        return gains_of(candidates, read_meta(Path(self.ms)), interpolate=self.interpolate)

    def apply(self, between: Between, out_ms: Path, freq_average: int) -> dict[str, Any]:
        """Write the calibrated, averaged data; see `contimg.gains.apply`."""
        from contimg.gains.apply import apply_gains

        return apply_gains(
            Path(self.ms),
            between.gains,
            out_ms,
            freq_average=freq_average,
            threads=self.threads,
            origin=between.name,
        )

    def record(self, between: Between, metrics: dict[str, Any], **parameters: Any) -> dict[str, Any]:
        """What status.json says of a product made with these gains."""
        from contimg.telescope.beam import describe_beam

        return status(
            inputs=[self.ms],
            caltables=[str(tables / name) for tables in between.tables for name in ("K", "BP", "G")],
            parameters={
                "imaging": self.imaging.model_dump(mode="json", include=set(self.made_by)),
                "beam": describe_beam(self.beam),
                "borrowed": str(between.tables[0]) != self.nearest,
                "interpolated": between.metrics,
                **parameters,
            },
            metrics=metrics,
        )


@dataclass(frozen=True)
class ImageTile(Calibrated):
    """Measurement Set and caltables to the image directory."""

    catalog: Catalog | None
    directory: str
    scratch: Scratch
    log: str

    made_by = frozenset(ImagingOptions.model_fields)

    def make(self) -> str:
        """Apply, average and image in scratch; the directory appears complete."""
        with self.scratch.working_folder() as work, building(Path(self.directory)) as part:
            part.mkdir()
            record = self.image_into(part, work)
            write_json(part / STATUS, record)
        tables = Path(record["caltables"][0]).parent.name
        return f"rms {1e3 * record['metrics']['rms_jy']:.2f} mJy, with {tables}"

    def image_into(
        self, folder: Path, work: Path, alter: Callable[[PrivateSet, int], None] | None = None
    ) -> dict[str, Any]:
        """Make the files of the image in an existing folder; returns its sidecar.

        `alter` may change the calibrated data before they are imaged: it is called with them and the number of raw
        channels in each of their channels.
        """
        from contimg.image import programs
        from contimg.image.plan import resolve
        from contimg.image.tile import image_tile
        from contimg.ms.private import PrivateSet
        from contimg.ms.sets import read_meta

        between = self.choose_gains()
        plan = resolve(read_meta(Path(self.ms)), self.imaging, self.beam)
        calibrated = PrivateSet(work / f"{self.tile}.ms")
        applied = self.apply(between, calibrated.path, plan.freq_average)
        if alter is not None:
            alter(calibrated, plan.freq_average)
        metrics = image_tile(
            calibrated,
            folder,
            plan=plan,
            beam=self.beam,
            weights=applied.pop("sum_weight"),
            origin={"caltable": str(between.tables[0])},
            scratch=work,
            threads=self.threads,
            log=Path(self.log),
            catalog=self.catalog,
        )
        metrics["apply"] = applied
        return self.record(between, metrics, plan=plan.describe(), imager=programs.describe(plan.backend))

    def reject(self, reason: str) -> None:
        """Leave a directory that says why there is no image."""
        reject_directory(Path(self.directory), status(reason, inputs=[self.ms], caltables=self.candidates))


@dataclass(frozen=True)
class ApplyTile(Calibrated):
    """Measurement Set and caltables to a calibrated Measurement Set."""

    calibrated: str
    calibrated_sidecar: str

    def make(self) -> str:
        """Apply and average, as image_tile does in scratch."""
        from contimg.image.plan import resolve
        from contimg.ms.sets import read_meta

        between = self.choose_gains()
        plan = resolve(read_meta(Path(self.ms)), self.imaging, self.beam)
        with building(Path(self.calibrated)) as part:
            applied = self.apply(between, part, plan.freq_average)
        del applied["sum_weight"]
        write_json(Path(self.calibrated_sidecar), self.record(between, applied))
        return f"averaged by {plan.freq_average} channels, with {between.name}"

    def reject(self, reason: str) -> None:
        """Leave a directory that says why there are no calibrated data."""
        record = status(reason, inputs=[self.ms], caltables=self.candidates)
        reject_directory(Path(self.calibrated), record)
        write_json(Path(self.calibrated_sidecar), record)
