"""The other sources in a calibrator's field, found in its own data where no catalogue names them.

A gain solution is free to imitate what its model lacks. With N antennas it takes up about 2/N of the flux of
every source that is in the data but not in the model: 7 % with 28 antennas, 2 % with 96. Tiles that are
corrected by those gains then show that source too faint by as much, wherever the sky is still the same; the
calibrator itself comes out right, so that nothing seems wrong. A source so near to the calibrator that their
fringes hardly part during the tile loses more: 40 % was seen 0.3 degrees away with 28 antennas.

Sources found in an image made with the first solutions are too faint by that part themselves. Solving with
them in the model and fitting them again takes it to its square, and so on: `field_sources` finds them,
`refit` measures them again, `settled` says when to stop.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contimg.calibrators import Calibrator
from contimg.options import BeamOptions, ImagingOptions

if TYPE_CHECKING:
    import pandas as pd

FOUND_SIGMA = 6.0
PB_LIMIT = 0.1
"""Sources where the power beam is below this are too faint in the data to matter, and uncertain."""

SAME_BEAMS = 1.5
"""What is found this near to the calibrator, in beams, is the calibrator."""

SETTLED = 0.01
MAX_ROUNDS = 4


@dataclass(frozen=True)
class Field:
    """A calibrator's tile and what it takes to look at it.

    Attributes
    ----------
    cal_ms : Path
        Measurement Set phased to the calibrator, uncalibrated.
    calibrator : Calibrator
        The source at the phase centre.
    beam : BeamOptions
        Primary beam, by which fluxes are corrected.
    scratch : Path
        Existing directory.
    threads : int
    log : Path
        The imager's log is appended.
    """

    cal_ms: Path
    calibrator: Calibrator
    beam: BeamOptions
    scratch: Path
    threads: int
    log: Path


def field_sources(field: Field, tables: Path) -> list[Calibrator]:
    """Image a calibrator's tile with its own solutions and list the other sources in it.

    Parameters
    ----------
    field : Field
    tables : Path
        Directory of K, BP and G.

    Returns
    -------
    list of Calibrator
        As fitted to the visibilities through the drifting beam; fluxes at 1.4 GHz.
    """
    import pandas as pd
    from astropy.coordinates import SkyCoord

    from contimg.image import choose, image_tile
    from contimg.ms import read_meta

    options = ImagingOptions(pb_limit=PB_LIMIT)
    plan = choose(read_meta(field.cal_ms), options, field.beam)
    with _calibrated(field, tables, plan.freq_average) as calibrated:
        images = field.scratch / "field"
        images.mkdir()
        metrics = image_tile(
            calibrated,
            images,
            plan=plan,
            options=options,
            beam=field.beam,
            scratch=field.scratch,
            threads=field.threads,
            log=field.log,
        )
    tables_found = list(images.glob("*.sources.parquet"))
    if not tables_found:
        return []
    found = pd.read_parquet(tables_found[0])
    places = SkyCoord(found["ra_deg"], found["dec_deg"], unit="deg")
    centre = SkyCoord(field.calibrator.ra_deg, field.calibrator.dec_deg, unit="deg")
    others = found[places.separation(centre).arcsec > SAME_BEAMS * metrics["beam_major_arcsec"]]
    others = others[(others["snr"] >= FOUND_SIGMA) & (others["beam"] >= PB_LIMIT)]
    names = [f"field{number:02d}" for number in range(1, len(others) + 1)]
    return _sources(others.assign(name=names))


def refit(field: Field, tables: Path, others: Sequence[Calibrator]) -> list[Calibrator]:
    """Measure known neighbours again, with newer solutions; parameters as for `field_sources`."""
    import pandas as pd

    from contimg.beam import load_beam
    from contimg.drift_fit import fit
    from contimg.imageplan import choose
    from contimg.ms import read_meta

    plan = choose(read_meta(field.cal_ms), ImagingOptions(), field.beam)
    columns = ["name", "ra_deg", "dec_deg", "flux_jy", "spectral_index"]
    known = pd.DataFrame([asdict(source) for source in (field.calibrator, *others)])[columns]
    with _calibrated(field, tables, plan.freq_average) as calibrated:
        fitted = fit(
            calibrated,
            known,
            beam=load_beam(field.beam),
            freq_average=plan.freq_average,
            threads=field.threads,
        )
    return _sources(fitted.table.iloc[1:])


def settled(before: Sequence[Calibrator], after: Sequence[Calibrator]) -> bool:
    """Whether no source has changed by more than `SETTLED` of its flux from one round to the next."""
    return all(
        abs(new.flux_jy - old.flux_jy) <= SETTLED * old.flux_jy
        for old, new in zip(before, after, strict=True)
    )


@contextmanager
def _calibrated(field: Field, tables: Path, freq_average: int) -> Iterator[Path]:
    """A calibrated copy of the tile in scratch."""
    from contimg.apply import apply_tile

    copy = field.scratch / "field.ms"
    apply_tile(field.cal_ms, tables, copy, freq_average=freq_average, threads=field.threads)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def _sources(table: pd.DataFrame) -> list[Calibrator]:
    return [
        Calibrator(
            row["name"],
            row["ra_deg"],
            row["dec_deg"],
            row["flux_jy"],
            row["spectral_index"],
            "found in the calibrator's own tile",
        )
        for row in table.to_dict("records")
    ]
