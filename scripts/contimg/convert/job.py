"""Raw files to Measurement Sets: what the rules' scripts call."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contimg.convert.options import FlaggingOptions
from contimg.core.digests import fingerprint, whole
from contimg.core.products import building, reject_directory, status, write_json
from contimg.core.text import some
from contimg.index.memory import note
from contimg.index.spares import FileFault, frozen, replaced
from contimg.index.tile import Slot, raw_paths
from contimg.jobs.orphans import MANIFEST_VARIABLE

if TYPE_CHECKING:
    from contimg.convert.tile import PhaseCentre
    from contimg.jobs.scratch import Scratch

logger = logging.getLogger(__name__)


def convert(
    tile: str,
    slots: tuple[Slot, ...],
    ms: Path,
    sidecar: Path,
    flagging: FlaggingOptions,
    threads: int,
    phase_centre: PhaseCentre | None,
    scratch: Scratch,
) -> dict[str, Any]:
    """Convert a tile into a Measurement Set with its sidecar; returns what the sidecar says.

    A file that cannot be read gives way to a healthy spare, if there is one.
    """
    from contimg.convert.tile import convert_tile
    from contimg.jobs.scratch import staging

    seen = note(slots)
    damaged: dict[str, str] = {}
    while True:
        try:
            with staging(scratch) as fast, building(ms, fast) as part:
                metrics = convert_tile(
                    slots, tile, part, phase_centre=phase_centre, flagging=flagging, threads=threads
                )
            break
        except FileFault as fault:
            others = replaced(slots, fault.path, frozen(os.environ.get(MANIFEST_VARIABLE), tile))
            if others is None:
                raise
            logger.warning("%s; its spare is read instead", fault)
            damaged[fault.path] = str(fault)
            slots = others
            seen = note(slots) | seen
    reason = metrics.pop("rejected")
    record = status(
        reason,
        inputs=raw_paths(slots),
        raw=seen,
        parameters={"flagging": flagging.model_dump(mode="json")},
        metrics=metrics | ({"damaged_files": damaged} if damaged else {}),
        contents=fingerprint(ms),
        whole=whole(ms),
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
        record = convert(
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
        damaged = record["metrics"].get("damaged_files", {})
        if damaged:
            flagged += f", spares read for {some(Path(path).name for path in damaged)}, which cannot be read: remove it"
        return flagged if record["reason"] is None else f"{flagged}, rejected: {record['reason']}"

    def reject(self, reason: str) -> None:
        """Leave a directory that only says why there is no Measurement Set."""
        record = status(reason, inputs=raw_paths(self.slots), raw=note(self.slots))
        reject_directory(Path(self.ms), record)
        write_json(Path(self.sidecar), record)
