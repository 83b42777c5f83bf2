"""Known faint sources put into real visibilities: what a night would have seen of them, measured and not assumed.

The sources are added to a tile's calibrated data through the drifting beam (`contimg.drift.predict`), as the sky would
have; the tile is then found, fitted, cleaned and imaged like any other. What comes out of that against what went in is
the tile's completeness curve and its flux bias. What injection does not see: errors of the gains and of the primary
beam's model, with which the sources go in and come out.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.typing import NDArray

from contimg.core.constants import REFERENCE_HZ
from contimg.core.errors import Rejected
from contimg.core.products import building, status, write_json
from contimg.core.robust import mad_sigma
from contimg.image.job import ImageTile
from contimg.image.made import Made
from contimg.qa.options import INJECTED_BY, QaOptions
from contimg.sky.measure import PixelBeam

if TYPE_CHECKING:
    from contimg.ms.private import PrivateSet

SNR_STEPS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0, 20.0, 30.0, 50.0)
PER_STEP = 5
APART_BEAMS = 6.0
"""Least distance (FWHM) between injected sources, and from the sources of the sky."""
SPECTRAL_INDEX = -0.7
TRIES = 40  # random places for each source


def draw(
    rms: NDArray[np.float32],
    header: Header,
    sky: pd.DataFrame,
    seed: str,
    pb: NDArray[np.float32],
    pb_min: float,
) -> pd.DataFrame:
    """Choose places and fluxes of sources to inject.

    Parameters
    ----------
    rms : (ny, nx) float32
        Local rms of the beam-corrected image, Jy/beam: fluxes are `SNR_STEPS` times it where the source is.
    header : Header
        Of the image: WCS, beam, RESTFRQ.
    sky : DataFrame
        Sources of the image (`x_pix, y_pix`), kept clear of.
    seed : str
        The same draws the same sources.
    pb : (ny, nx) float32
        Power beam.
    pb_min : float
        Nothing is injected below this.

    Returns
    -------
    DataFrame
        `name, ra_deg, dec_deg` (ICRS), `flux_jy` (1.4 GHz), `spectral_index`, `true_jy` (at the image's
        frequency), `snr, x_pix, y_pix`. Steps alternate; a field too small for all holds fewer of each.
    """
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    beam = PixelBeam.from_header(header)
    rows, columns = np.nonzero(np.isfinite(rms) & (pb >= pb_min))
    if len(rows) == 0:
        raise Rejected(
            "no place to inject sources: the image has no pixel with an rms inside the primary beam"
        )
    taken = sky[["x_pix", "y_pix"]].to_numpy(float) if len(sky) else np.zeros((0, 2))
    chosen: list[tuple[float, float, float]] = []
    for snr in SNR_STEPS * PER_STEP:
        for pixel in rng.integers(len(rows), size=TRIES):
            place = np.array([columns[pixel], rows[pixel]]) + rng.uniform(-0.5, 0.5, 2)
            apart = np.hypot(*beam.offsets(taken[:, 0] - place[0], taken[:, 1] - place[1]))
            if len(taken) == 0 or apart.min() >= APART_BEAMS:
                taken = np.vstack([taken, place])
                chosen.append((snr, *place))
                break
    snr_of, x, y = np.array(chosen).reshape(-1, 3).T
    places = WCS(header).celestial.pixel_to_world(x, y).icrs
    true_jy = snr_of * rms[np.rint(y).astype(int), np.rint(x).astype(int)]
    return pd.DataFrame(
        {
            "name": [f"I{number:03d}" for number in range(len(x))],
            "ra_deg": places.ra.deg,
            "dec_deg": places.dec.deg,
            "flux_jy": true_jy * (header["RESTFRQ"] / REFERENCE_HZ) ** -SPECTRAL_INDEX,
            "spectral_index": SPECTRAL_INDEX,
            "true_jy": true_jy,
            "snr": snr_of,
            "x_pix": x,
            "y_pix": y,
        }
    )


def recover(injected: pd.DataFrame, found: pd.DataFrame, header: Header, match_arcsec: float) -> pd.DataFrame:
    """What was found of the injected sources.

    Returns
    -------
    DataFrame
        `injected` with `recovered`, and of those that were: `measured_jy, measured_err_jy, ratio` (measured over true),
        `offset_major_beam, offset_minor_beam`.
    """
    from contimg.sky.crossmatch import mutual

    first, second = mutual(injected, found, match_arcsec)
    table = injected.assign(recovered=False)
    table.loc[first, "recovered"] = True
    for column in ("measured_jy", "measured_err_jy", "ratio", "offset_major_beam", "offset_minor_beam"):
        table[column] = np.nan
    seen = found.iloc[second]
    table.loc[first, "measured_jy"] = seen["flux_jy"].to_numpy()
    table.loc[first, "measured_err_jy"] = seen["flux_err_jy"].to_numpy()
    table["ratio"] = table["measured_jy"] / table["true_jy"]
    major, minor = PixelBeam.from_header(header).offsets(
        seen["x_pix"].to_numpy() - table.loc[first, "x_pix"].to_numpy(),
        seen["y_pix"].to_numpy() - table.loc[first, "y_pix"].to_numpy(),
    )
    table.loc[first, "offset_major_beam"], table.loc[first, "offset_minor_beam"] = major, minor
    return table


def summary(table: pd.DataFrame, options: QaOptions) -> dict[str, Any]:
    """Completeness curve and flux bias of what `recover` gave; None where too few sources tell."""
    steps = []
    for snr, rows in table.groupby("snr"):
        ratio = rows["ratio"].median()
        steps.append(
            {
                "snr": float(str(snr)),
                "injected": len(rows),
                "recovered": int(rows["recovered"].sum()),
                "median_ratio": None if np.isnan(ratio) else float(ratio),
            }
        )
    above = table[table["snr"] >= options.completeness_snr]
    bright = table[table["recovered"] & (table["snr"] >= options.flux_snr)]
    enough = len(bright) >= options.min_sources
    error = 1.2533 / max(len(bright), 1) ** 0.5  # of a median, in standard deviations
    return {
        "n_injected": len(table),
        "steps": steps,
        "completeness": float(above["recovered"].mean()) if len(above) else None,
        "flux_ratio": float(bright["ratio"].median()) if enough else None,
        "flux_ratio_err": error * mad_sigma(bright["ratio"]) if enough else None,
        "offset_major_beam": float(bright["offset_major_beam"].median()) if enough else None,
        "offset_minor_beam": float(bright["offset_minor_beam"].median()) if enough else None,
    }


@dataclass(frozen=True)
class InjectTile:
    """The job: a tile imaged once more, with known sources in its data.

    Attributes
    ----------
    image : ImageTile
        The job that made the tile's image.
    record, sources : str
        Where the sidecar (JSON) and the table of injected sources (Parquet) go.
    options : QaOptions
    """

    image: ImageTile
    record: str
    sources: str
    options: QaOptions

    def make(self) -> str:
        """Draw, inject, image, compare."""
        from astropy.io import fits

        from contimg.sky.measure import find

        tile, folder = self.image.tile, Path(self.image.directory)
        made = Made.read(folder, tile, without="no image to compare with")
        image, rms, pb = (fits.getdata(made.file(kind)) for kind in ("pbcor", "rms", "pb"))
        header = fits.getheader(made.file("pbcor"))
        sky = find(image, header, rms, self.options.detection_snr)
        injected = draw(rms, header, sky, tile, pb, self.options.injection_pb)
        with self.image.scratch.working_folder() as work:
            out = work / "injected"
            out.mkdir()
            observed = made.as_observed(injected)
            self.image.image_into(out, work, alter=lambda ms, averaged: self._inject(ms, observed, averaged))
            again = fits.getdata(out / f"{tile}.pbcor.fits")
            noise = fits.getdata(out / f"{tile}.rms.fits")
        found = find(again, header, noise, self.options.detection_snr)
        table = recover(injected, found, header, self.options.match_beams * 3600.0 * header["BMAJ"])
        metrics = summary(table, self.options)
        with building(Path(self.sources)) as part:
            table.to_parquet(part)
        write_json(
            Path(self.record),
            status(
                inputs=[self.image.ms, self.image.directory],
                caltables=made.record["caltables"],
                parameters={
                    "qa": self.options.model_dump(mode="json", include=INJECTED_BY),
                    "imaging": made.record["parameters"]["imaging"],
                },
                metrics={**metrics, "rms_jy": made.record["metrics"]["rms_jy"]},
            ),
        )
        recovered = int(table["recovered"].sum())
        return f"{recovered} of {len(table)} injected sources recovered"

    def _inject(self, ms: PrivateSet, injected: pd.DataFrame, averaged: int) -> None:
        """Add the sources to DATA: what is subtracted is their negative."""
        from contimg.drift.subtract import subtract
        from contimg.telescope.beam import load_beam

        negative = injected[["name", "ra_deg", "dec_deg", "spectral_index"]].assign(
            flux_jy=-injected["flux_jy"]
        )
        subtract(
            ms, negative, beam=load_beam(self.image.beam), freq_average=averaged, threads=self.image.threads
        )

    def reject(self, reason: str) -> None:
        """Leave a sidecar that says why nothing was injected, and a table without rows."""
        write_json(Path(self.record), status(reason, inputs=[self.image.ms, self.image.directory]))
        with building(Path(self.sources)) as part:
            pd.DataFrame().to_parquet(part)
