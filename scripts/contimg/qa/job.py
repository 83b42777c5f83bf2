"""The jobs of quality assurance: a tile's or a mosaic's planes and sidecar to its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import building, read_json, write_json
from contimg.qa import excess, gates
from contimg.qa import verdict as qa
from contimg.qa.notes import Note
from contimg.qa.options import NOT_JUDGED_BY, QaOptions
from contimg.qa.response import Response, at_beam, fitted_gradient, gradient, of_tables, of_verdicts

if TYPE_CHECKING:
    import pandas as pd
    from astropy.io.fits import Header

    from contimg.qa.conditions import Pointing
    from contimg.qa.sources import Plane, Seen
    from contimg.sky.catalog import Catalog

FIELD_MARGIN_DEG = 0.5


@dataclass(frozen=True)
class _Judged:
    """What the judgements of tiles and mosaics share.

    Attributes
    ----------
    directory : str
        Product that is judged.
    verdict, sources : str
        Where the verdict (JSON) and the table of sources (Parquet) go.
    """

    directory: str
    verdict: str
    sources: str
    catalog: Catalog | None
    options: QaOptions

    kind = ""

    def reject(self, reason: str) -> None:
        """Leave a verdict that fails because nothing could be judged, and a table without rows."""
        import pandas as pd

        self._write(qa.record(self.directory, self.kind, rejected=reason, inputs=[self.directory]))
        self._write_sources(pd.DataFrame())

    def _write(self, record: dict[str, Any]) -> None:
        write_json(Path(self.verdict), record)

    def _write_sources(self, table: pd.DataFrame, header: Header | None = None) -> None:
        from contimg.core import tables
        from contimg.qa.sources import COLUMNS

        shared = {} if header is None else {"freq_hz": float(header["RESTFRQ"])}
        if header is not None:
            shared |= {f"{key.lower()}_arcsec": 3600.0 * float(header[key]) for key in ("BMAJ", "BMIN")}
        with building(Path(self.sources)) as part:
            # noise alone: elsewhere flux_err_jy has the error of calibration in it
            named = table.rename(columns={"flux_err_jy": "stat_err_jy"})
            tables.write(part, named, COLUMNS, {**shared, "product": self.directory})

    def _product(self) -> dict[str, Any]:
        """The product's sidecar."""
        record: dict[str, Any] = read_json(Path(self.directory) / STATUS)
        return record

    def _look(self, image: Path, rms: Path) -> tuple[Plane, Plane, Header, Seen]:
        from astropy.io import fits

        from contimg.core.fits import read_plane
        from contimg.qa.sources import look

        header = fits.getheader(image)
        planes = read_plane(image), read_plane(rms)
        return *planes, header, look(*planes, header, self.options.detection_snr)

    def _against_catalogue(
        self, seen: Seen, header: Header, rms: Plane
    ) -> tuple[gates.CatalogueFacts | None, pd.DataFrame]:
        """What the catalogue says, and the sources with what it has of them."""
        from contimg.sky import crossmatch

        if self.catalog is None:
            return None, seen.sources
        options = self.options
        ny, nx = rms.shape
        half_deg = 0.5 * math.hypot(nx * header["CDELT1"], ny * header["CDELT2"]) + FIELD_MARGIN_DEG
        rows = self.catalog.near(ra_deg=header["CRVAL1"], dec_deg=header["CRVAL2"], radius_deg=half_deg)
        rows = crossmatch.in_image(crossmatch.at_frequency(rows, float(header["RESTFRQ"])), header, rms)
        match_arcsec = options.match_beams * 3600.0 * header["BMAJ"]
        isolation_arcsec = max(options.catalog_beam_arcsec, 2.0 * 3600.0 * header["BMAJ"])
        pairs = crossmatch.compare(
            seen.sources, rows, header, match_arcsec=match_arcsec, isolation_arcsec=isolation_arcsec
        )
        expected = crossmatch.detected(
            rows,
            seen.sources,
            min_snr=options.completeness_snr,
            match_arcsec=match_arcsec,
            isolation_arcsec=isolation_arcsec,
        )
        asked = crossmatch.known(
            seen.sources, rows, min_snr=options.completeness_snr, match_arcsec=match_arcsec
        )
        extra = pairs.set_index("found")[
            [name for name in pairs if name not in seen.sources and name != "found"]
        ]
        return gates.CatalogueFacts(pairs, expected, asked, options), seen.sources.join(extra)

    def _held(self, *facts: gates.ImageFacts | gates.CatalogueFacts | Response | None) -> list[qa.Gate]:
        """Every gate, in the order of the facts."""
        judged = [gate for one in facts for gate in gates.held(one, self.options, self.kind)]
        return qa.advise(judged, self.options.advisory)

    def _parameters(self) -> dict[str, Any]:
        return {
            "qa": self.options.model_dump(mode="json", exclude=NOT_JUDGED_BY),
            "catalog": None if self.catalog is None else self.catalog.path.name,
        }


@dataclass(frozen=True)
class QaTile(_Judged):
    """A tile's image to its verdict."""

    pointing: Pointing

    kind = "tile"

    def make(self) -> str:
        """Judge the image."""
        from contimg.qa.conditions import notes, shifted, unfinished

        made = self._product()
        measured = made.get("metrics", {})
        lines = [*notes(self.pointing), *unfinished(measured), *shifted(measured)]
        if made["reason"] is not None:
            self.reject(f"rejected: {made['reason']}")
            return "nothing to judge: rejected"
        tile = Path(self.directory).name
        folder = Path(self.directory)
        _, rms, header, seen = self._look(folder / f"{tile}.pbcor.fits", folder / f"{tile}.rms.fits")
        metrics = self._metrics(made["metrics"], header)
        metrics["transits"] = made.get("parameters", {}).get("interpolated", {}).get("scales", {})
        antennas = gates.Antennas.of(made)
        facts = gates.ImageFacts(
            rms=metrics["rms_over_expected"],
            noise=_number(metrics["noise_over_weights"]),
            near=seen.near,
            n_positive=seen.n_positive,
            n_negative=seen.n_negative,
            beam=header["BMAJ"] / header["BMIN"],
            flags=metrics["flag_fraction"],
            weights=_number(metrics["weight_uniformity"]),
            sefd_jy=_number(metrics["sefd_jy"]),
            options=self.options,
            transits=metrics["transits"],
            antennas=antennas,
            outside_jy=gates.subtracted_jy(measured.get("outside")),
            expected_jy=metrics["expected_rms_jy"],
        )
        if isinstance(facts.outside, float) and facts.outside > self.options.max_outside:
            lines += excess.elsewhere(measured["outside"])
        causes = excess.why(facts, made["metrics"], brightest_jy=float(seen.sources["flux_jy"].max()))
        metrics["why_noisy"] = "; ".join(causes) or None
        if causes:
            lines = [line for line in lines if line not in causes]  # said once, as a cause
            lines.append(Note.NOISY.line(f"{metrics['rms_over_expected']:.2f} ×; {metrics['why_noisy']}"))
        against, sources = self._against_catalogue(seen, header, rms)
        sources = at_beam(folder / f"{tile}.pb.fits", header, sources)
        response = self._response(tile, sources, against, header, measured.get("shift"))
        self._write_sources(sources, header)
        record = qa.record(
            self.directory,
            self.kind,
            self._held(facts, against, response),
            notes=[*lines, *antennas.notes(), *response.notes()],
            inputs=[self.directory],
            parameters=self._parameters(),
            metrics={
                **metrics,
                "n_sources": len(sources),
                "n_negative": seen.n_negative,
                "scale": None if response.scale is None else response.scale.to_json(),
                "anchored": _anchored(tile, made.get("caltables", ())),
            },
        )
        self._write(record)
        return _line(record)

    def _response(
        self,
        tile: str,
        sources: pd.DataFrame,
        against: gates.CatalogueFacts | None,
        header: Header,
        shift: Mapping[str, Any] | None,
    ) -> Response:
        """Fluxes and places against the place in the beam: of one tile, only the catalogue can tell.

        The image's job compared more places than the image shows, those that were fitted.
        """
        if against is None:
            return Response(None)
        scale = of_tables(
            {tile: sources}, min_snr=self.options.flux_snr, beam_arcsec={tile: 3600.0 * header["BMAJ"]}
        )
        bright = against.placed
        where = sources.loc[bright["found"].to_numpy(int), ["x_pix", "y_pix"]]
        placed = bright.assign(x_pix=where["x_pix"].to_numpy(), y_pix=where["y_pix"].to_numpy())
        return Response(scale, fitted_gradient(shift) or gradient(placed, header))

    def _metrics(self, measured: Mapping[str, Any], header: Header) -> dict[str, Any]:
        """What was measured when the image was made, and what noise it should have."""
        applied = measured["apply"]
        confusion = self.options.confusion_mjy
        taken = (measured.get("sky_model") or {}).get("taken", 0.0)
        expected = gates.expected_rms_jy(
            measured["thermal_from_weights_jy"] / math.sqrt(1.0 - taken),
            _number(applied.get("noise_over_weights")),
            gates.confusion_jy(3600 * header["BMAJ"], 3600 * header["BMIN"], header["RESTFRQ"])
            if confusion == "auto"
            else 1e-3 * float(confusion),
        )
        return {
            "rms_jy": measured["rms_jy"],
            "thermal_jy": measured["thermal_from_weights_jy"],
            "taken_by_fit": taken,
            "expected_rms_jy": expected,
            "rms_over_expected": measured["rms_jy"] / expected,
            "sefd_jy": applied.get("sefd_jy"),
            "noise_over_weights": applied.get("noise_over_weights"),
            "flag_fraction": applied["flag_fraction"],
            "weight_uniformity": applied.get("weight_uniformity"),
            "mid_mjd": self.pointing.mid_mjd,
        }


@dataclass(frozen=True)
class QaMosaic(_Judged):
    """A mosaic to its verdict, with those of its tiles."""

    tile_verdicts: tuple[str, ...]

    kind = "mosaic"

    def make(self) -> str:
        """Judge the mosaic."""
        from contimg.gains.noise import uniformity
        from contimg.sky.noise import robust_rms

        made = self._product()
        if made["reason"] is not None:
            self.reject(f"rejected: {made['reason']}")
            return "nothing to judge: rejected"
        folder = Path(self.directory)
        weights = next(folder.glob("*.weights.fits"), None)
        if weights is None:
            raise InputError(f"{folder}: expected a mosaic, found no .weights.fits; make the mosaic again")
        stem = weights.name.removesuffix(".weights.fits")
        image, rms, header, seen = self._look(folder / f"{stem}.fits", folder / f"{stem}.rms.fits")
        tiles = {record["product"]: record for record in map(read_json, map(Path, self.tile_verdicts))}
        used = [tile for tile in made["tiles"] if tile["weight"] > 0]
        shares = np.array([tile["weight"] for tile in used])
        of_tiles = {
            name: _weighted([tiles[tile["path"]]["metrics"][name] for tile in used], shares)
            for name in ("rms_over_expected", "noise_over_weights", "flag_fraction", "sefd_jy")
        }
        own = robust_rms((image / rms).ravel())
        facts = gates.ImageFacts(
            rms=own * of_tiles["rms_over_expected"],
            noise=of_tiles["noise_over_weights"],
            near=seen.near,
            n_positive=seen.n_positive,
            n_negative=seen.n_negative,
            beam=header["BMAJ"] / header["BMIN"],
            flags=of_tiles["flag_fraction"],
            weights=uniformity(shares),
            sefd_jy=of_tiles["sefd_jy"],
            options=self.options,
        )
        against, sources = self._against_catalogue(seen, header, rms)
        response = self._response([tiles[tile["path"]] for tile in used], made.get("factors", {}))
        self._write_sources(sources, header)
        record = qa.record(
            self.directory,
            self.kind,
            self._held(facts, against, response),
            notes=[*_shared_notes([tiles[tile["path"]] for tile in used]), *response.notes()],
            inputs=[self.directory],
            parameters=self._parameters(),
            metrics={
                "rms_jy": made["metrics"]["rms_median_jy"],
                "noise_over_rms_map": own,
                "n_tiles": len(used),
                "n_tiles_wanted": len(made["tiles"]),
                "n_sources": len(sources),
                "n_negative": seen.n_negative,
                "mid_mjd": made["metrics"]["mjd_mean"],
                "scale": None if response.scale is None else response.scale.to_json(),
            },
        )
        self._write(record)
        return _line(record)

    def _response(self, records: Sequence[Mapping[str, Any]], factors: Mapping[str, float]) -> Response:
        """The same sources in the mosaic's tiles, as it added them: their verdicts' tables."""
        paths = {read_json(Path(path))["product"]: Path(path) for path in self.tile_verdicts}
        told = [record for record in records if record["product"] in paths]
        return Response(
            of_verdicts(
                [(record, paths[record["product"]]) for record in told],
                min_snr=self.options.flux_snr,
                factors=factors,
            )
        )


def _line(record: Mapping[str, Any]) -> str:
    """What a job says of its verdict."""
    said = record["gates"].values()
    asked = [gate for gate in said if gate["verdict"] != qa.NOT_EVALUATED]
    return (
        f"{record['verdict']}: {record['reason']}"
        if record["reason"]
        else f"{len(asked)} of {len(said)} gates passed"
    )


def _anchored(tile: str, caltables: Sequence[str]) -> bool:
    """Whether a tile holds the transit that its solutions are from."""
    return any(Path(path).parent.name.startswith(f"{tile}_") for path in caltables[:1])


def _number(value: float | None) -> float:
    """A number that JSON has as null."""
    return math.nan if value is None else float(value)


def _weighted(values: Sequence[float | None], shares: np.ndarray) -> float:
    """Mean with weights over the values that are known; NaN if none is."""
    numbers = np.array([_number(value) for value in values])
    good = np.isfinite(numbers)
    return float(np.average(numbers[good], weights=shares[good])) if good.any() else math.nan


def _shared_notes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes of a mosaic: how many of its tiles were observed by day or with predicted UT1."""
    counts = {Note.BY_DAY: "observed by day", Note.UT1: "with a predicted UT1"}
    lines = []
    for kind, what in counts.items():
        count = sum(kind.among(record) for record in records)
        if count:
            lines.append(f"{count} of {len(records)} tiles {what}")
    return lines
