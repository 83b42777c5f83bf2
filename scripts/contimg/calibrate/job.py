"""Raw files of a transit to caltables: what the rule's script calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.calibrate.options import CalibrationOptions
from contimg.convert.job import convert
from contimg.convert.options import FlaggingOptions
from contimg.core.errors import Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import building, reject_directory, status, write_json
from contimg.index.memory import note
from contimg.index.tile import Slot, raw_paths
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions

if TYPE_CHECKING:
    from contimg.jobs.scratch import Scratch
    from contimg.sky.catalog import Catalog

NEIGHBOUR_FRACTION = 0.0005
"""Catalogue sources fainter than this part of a calibrator are not looked at: they do not reach `MIN_NEIGHBOUR` through
the beam, as long as the calibrator itself is above a quarter of it."""


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
        from contimg.calibrate.transit import solve_transit
        from contimg.convert.tile import PhaseCentre

        centre = PhaseCentre(self.calibrator.name, self.calibrator.ra_deg, self.calibrator.dec_deg)
        ms = Path(self.ms)
        converted = convert(
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
        from contimg.calibrate.ensemble import LEAST_JY
        from contimg.calibrate.transit import FIELD_RADIUS_DEG
        from contimg.sky.catalog import sources_near

        least = LEAST_JY if self.calibrator.is_field else NEIGHBOUR_FRACTION * self.calibrator.flux_jy

        return sources_near(
            self.catalog,
            ra_deg=self.calibrator.ra_deg,
            dec_deg=self.calibrator.dec_deg,
            radius_deg=FIELD_RADIUS_DEG,
            min_flux_jy=least,
        )

    def reject(self, reason: str) -> None:
        """Leave all three products, each saying why it is rejected."""
        record = status(reason, inputs=raw_paths(self.slots), raw=note(self.slots))
        if not Path(self.sidecar).exists():
            reject_directory(Path(self.ms), record)
            write_json(Path(self.sidecar), record)
        reject_directory(Path(self.tables), record)
