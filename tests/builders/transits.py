"""Raw files of a calibrator's transit to caltables, step by step."""

from __future__ import annotations

from pathlib import Path

from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.transit import solve_transit
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import PhaseCentre, convert_tile
from contimg.index.build import build_index
from contimg.sky.calibrators import Calibrator
from contimg.telescope.options import BeamOptions


def convert(incoming: Path, calibrator: Calibrator, folder: Path, number: int) -> Path:
    """Convert a tile of a directory of raw files, phased to the calibrator; no search for interference."""
    index = build_index(incoming, start_mjd=None, end_mjd=None, min_subbands=1, exclude=(), cache=None)
    tile = index.tiles[number]
    centre = PhaseCentre(calibrator.name, calibrator.ra_deg, calibrator.dec_deg)
    ms = folder / f"{number}.ms"
    convert_tile(
        tile.slots,
        tile.name,
        ms,
        phase_centre=centre,
        flagging=FlaggingOptions(aoflagger=False),
        threads=2,
    )
    return ms


def solve(
    ms: Path,
    calibrator: Calibrator,
    folder: Path,
    options: CalibrationOptions,
    others: list[Calibrator] | None,
    threads: int = 2,
) -> dict:
    """Solve into `folder`/cal."""
    (folder / "cal").mkdir(parents=True)
    (folder / "scratch").mkdir()
    return solve_transit(
        ms,
        folder / "cal",
        calibrator=calibrator,
        others=others,
        options=options,
        beam=BeamOptions(),
        scratch=folder / "scratch",
        threads=threads,
        log=folder / "casa.log",
    )
