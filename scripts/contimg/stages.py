"""The jobs of the workflow, from paths to products: what each rule's script calls.

Every class is one job: `make` makes the product and returns one line on it (or raises `Rejected`), `reject`
makes the rejected product. Libraries are imported when a job is made, after its threads are limited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.calibrators import Calibrator
from contimg.digests import fingerprint
from contimg.errors import Rejected
from contimg.index import Slot
from contimg.options import BeamOptions, CalibrationOptions, FlaggingOptions, ImagingOptions
from contimg.products import building, read_json, status, write_json

if TYPE_CHECKING:
    from contimg.calbetween import Between
    from contimg.catalog import Catalog
    from contimg.convert import PhaseCentre
    from contimg.scratch import Scratch

STATUS = "status.json"
NEIGHBOUR_FRACTION = 0.0005
"""Catalogue sources fainter than this part of a calibrator are not looked at: they do not reach `MIN_NEIGHBOUR` through
the beam, as long as the calibrator itself is above a quarter of it."""


def reject_directory(final: Path, record: dict[str, Any]) -> None:
    """Make a rejected directory product: it holds its status.json only."""
    with building(final) as part:
        part.mkdir()
        write_json(part / STATUS, record)


def _paths(slots: Sequence[Slot]) -> list[str]:
    return [slot.path for slot in slots if slot.path is not None]


def _convert(
    tile: str,
    slots: tuple[Slot, ...],
    ms: Path,
    sidecar: Path,
    flagging: FlaggingOptions,
    threads: int,
    phase_centre: PhaseCentre | None,
    scratch: Scratch,
) -> dict[str, Any]:
    """Convert a tile into a Measurement Set with its sidecar; returns what the sidecar says."""
    from contimg.convert import convert_tile
    from contimg.scratch import staging

    with staging(scratch) as fast, building(ms, fast) as part:
        metrics = convert_tile(
            slots, tile, part, phase_centre=phase_centre, flagging=flagging, threads=threads
        )
    reason = metrics.pop("rejected")
    record = status(
        reason,
        inputs=_paths(slots),
        parameters={"flagging": flagging.model_dump(mode="json")},
        metrics=metrics,
        contents=fingerprint(ms),
    )
    write_json(sidecar, record)
    return record


@dataclass(frozen=True)
class ConvertTile:
    """Raw files to the science Measurement Set."""

    tile: str
    slots: tuple[Slot, ...]
    ms: str
    sidecar: str
    flagging: FlaggingOptions
    scratch: Scratch
    threads: int

    def make(self) -> str:
        """Make the Measurement Set and its sidecar; unusable data are still a valid, flagged set."""
        record = _convert(
            self.tile,
            self.slots,
            Path(self.ms),
            Path(self.sidecar),
            self.flagging,
            self.threads,
            None,
            self.scratch,
        )
        flagged = f"{100 * record['metrics']['flag_fraction']:.1f} % flagged"
        return flagged if record["reason"] is None else f"{flagged}, rejected: {record['reason']}"

    def reject(self, reason: str) -> None:
        """Leave a directory that only says why there is no Measurement Set."""
        record = status(reason, inputs=_paths(self.slots))
        reject_directory(Path(self.ms), record)
        write_json(Path(self.sidecar), record)


@dataclass(frozen=True)
class CalibrateTransit:
    """Raw files of a transit to caltables."""

    tile: str
    slots: tuple[Slot, ...]
    calibrator: Calibrator
    catalog: Catalog | None
    ms: str
    sidecar: str
    tables: str
    flagging: FlaggingOptions
    calibration: CalibrationOptions
    beam: BeamOptions
    scratch: Scratch
    threads: int
    log: str

    def make(self) -> str:
        """Convert with the calibrator as phase centre, solve, judge."""
        from contimg.calibrate import solve_transit
        from contimg.convert import PhaseCentre

        centre = PhaseCentre(self.calibrator.name, self.calibrator.ra_deg, self.calibrator.dec_deg)
        ms = Path(self.ms)
        converted = _convert(
            self.tile,
            self.slots,
            ms,
            Path(self.sidecar),
            self.flagging,
            self.threads,
            centre,
            self.scratch,
        )
        if converted["reason"] is not None:
            raise Rejected(f"conversion: {converted['reason']}")
        with self.scratch.working_folder() as work, building(Path(self.tables)) as part:
            part.mkdir()
            record = solve_transit(
                ms,
                part,
                calibrator=self.calibrator,
                others=self._others(),
                options=self.calibration,
                beam=self.beam,
                scratch=work,
                threads=self.threads,
                log=Path(self.log),
            )
            write_json(part / STATUS, record)
        line = f"{len(record['metrics']['neighbours'])} other sources in the model"
        return line if record["reason"] is None else f"rejected: {record['reason']}"

    def _others(self) -> list[Calibrator] | None:
        """Sources of the reference catalogue near the calibrator; None where they are to be found in the data."""
        if self.catalog is None:
            return None if self.calibration.find_neighbours else []
        from contimg.calibrate import FIELD_RADIUS_DEG
        from contimg.catalog import sources_near

        return sources_near(
            self.catalog,
            ra_deg=self.calibrator.ra_deg,
            dec_deg=self.calibrator.dec_deg,
            radius_deg=FIELD_RADIUS_DEG,
            min_flux_jy=NEIGHBOUR_FRACTION * self.calibrator.flux_jy,
        )

    def reject(self, reason: str) -> None:
        """Leave all three products, each saying why it is rejected."""
        record = status(reason, inputs=_paths(self.slots))
        if not Path(self.sidecar).exists():
            reject_directory(Path(self.ms), record)
            write_json(Path(self.sidecar), record)
        reject_directory(Path(self.tables), record)


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

    def choose_gains(self) -> Between:
        """The gains, and the caltables they are from; raises Rejected where there are none or the data are unusable."""
        from contimg.calbetween import gains_of
        from contimg.ms import read_meta

        reason = read_json(Path(self.sidecar))["reason"]
        if reason is not None:
            raise Rejected(f"conversion: {reason}")
        if not self.candidates:
            raise Rejected("no calibrator transit of this strip within calibration.valid_hours in `incoming`")
        candidates = [Path(path) for path in self.candidates]
        return gains_of(candidates, read_meta(Path(self.ms)), interpolate=self.interpolate)

    def apply(self, between: Between, out_ms: Path, freq_average: int) -> dict[str, Any]:
        """Write the calibrated, averaged data; see `contimg.apply`."""
        from contimg.apply import apply_gains

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
        from contimg.beam import describe_beam

        return status(
            inputs=[self.ms],
            caltables=[str(tables / name) for tables in between.tables for name in ("K", "BP", "G")],
            parameters={
                "imaging": self.imaging.model_dump(mode="json"),
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

    def make(self) -> str:
        """Apply, average and image in scratch; the directory appears complete."""
        with self.scratch.working_folder() as work, building(Path(self.directory)) as part:
            part.mkdir()
            record = self.image_into(part, work)
            write_json(part / STATUS, record)
        tables = Path(record["caltables"][0]).parent.name
        return f"rms {1e3 * record['metrics']['rms_jy']:.2f} mJy, with {tables}"

    def image_into(
        self, folder: Path, work: Path, alter: Callable[[Path, int], None] | None = None
    ) -> dict[str, Any]:
        """Make the files of the image in an existing folder; returns its sidecar.

        `alter` may change the calibrated data before they are imaged: it is called with the private Measurement Set and
        the number of raw channels in each of its channels.
        """
        from contimg import image
        from contimg.ms import read_meta

        between = self.choose_gains()
        plan = image.choose(read_meta(Path(self.ms)), self.imaging, self.beam)
        calibrated = work / f"{self.tile}.ms"
        applied = self.apply(between, calibrated, plan.freq_average)
        if alter is not None:
            alter(calibrated, plan.freq_average)
        metrics = image.image_tile(
            calibrated,
            folder,
            plan=plan,
            options=self.imaging,
            beam=self.beam,
            weights=applied.pop("sum_weight"),
            origin={"caltable": str(between.tables[0])},
            scratch=work,
            threads=self.threads,
            log=Path(self.log),
            catalog=self.catalog,
        )
        metrics["apply"] = applied
        return self.record(between, metrics, plan=plan.describe())

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
        from contimg import image
        from contimg.ms import read_meta

        between = self.choose_gains()
        plan = image.choose(read_meta(Path(self.ms)), self.imaging, self.beam)
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
