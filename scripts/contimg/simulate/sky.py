"""Which sources there are: explicit ones, a catalogue, and a random population that fills the strip."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from contimg.core.errors import InputError
from contimg.simulate import a_team, counts
from contimg.simulate.options import SimOptions, Source
from contimg.simulate.streams import Stream, generator

CELL_DEG = 5.0
REFERENCE_HZ = 1.4e9
SHAPE = ("major_arcsec", "minor_arcsec", "angle_deg", "curvature")


def read_catalogue(path: str | Path) -> list[Source]:
    """Return the sources of a CSV file: name, ra_deg, dec_deg, flux_jy and, where given, spectral_index and axes."""
    path = Path(path)
    try:
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(line for line in handle if not line.startswith("#")))
    except OSError as exc:
        raise InputError(
            f"simulate: catalogue {path} cannot be read ({exc.strerror}); give a CSV file"
        ) from exc
    try:
        return [
            Source(
                row["name"],
                float(row["ra_deg"]),
                float(row["dec_deg"]),
                float(row["flux_jy"]),
                *(float(row.get(key) or 0.0) for key in ("spectral_index", *SHAPE)),
            )
            for row in rows
        ]
    except (KeyError, ValueError, TypeError) as exc:
        raise InputError(
            f"simulate: catalogue {path} needs the columns name,ra_deg,dec_deg,flux_jy[,spectral_index] "
            f"with numbers in them; found {exc!r}"
        ) from exc


def unit_vectors(ra_deg: np.ndarray, dec_deg: np.ndarray) -> np.ndarray:
    """Return unit vectors (n, 3) of right ascensions and declinations (deg)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def field_cell(options: SimOptions, cell: int) -> list[Source]:
    """Return the random sources of one cell of 5 deg of right ascension of the strip.

    A cell depends on seed and strip alone, so that the sky is the same whatever part of it is observed.
    Fluxes follow dN/dS ~ S**-slope between the two limits.
    """
    rng = generator(options.seed, Stream.FIELD, cell)
    low, high = (
        np.clip(options.dec_deg + s * options.field_half_width_deg, -89.0, 89.0) for s in (-1.0, 1.0)
    )
    sin_low, sin_high = np.sin(np.radians([low, high]))
    area_deg2 = CELL_DEG * np.degrees(sin_high - sin_low)
    count = rng.poisson(options.field_density_per_deg2 * area_deg2)
    ra_deg = CELL_DEG * (cell + rng.uniform(size=count))
    dec_deg = np.degrees(np.arcsin(rng.uniform(sin_low, sin_high, size=count)))
    power = 1.0 - options.field_flux_slope
    draw = rng.uniform(size=count)
    if abs(power) < 1e-9:
        flux = options.field_flux_min_jy * (options.field_flux_max_jy / options.field_flux_min_jy) ** draw
    else:
        edge = options.field_flux_min_jy**power, options.field_flux_max_jy**power
        flux = (edge[0] + draw * (edge[1] - edge[0])) ** (1.0 / power)
    index = rng.normal(options.field_index_mean, options.field_index_scatter, size=count)
    shapes = [_shape(options, cell, i) for i in range(count)]
    return [
        Source(f"F{cell:02d}-{i:03d}", round(r, 7), round(d, 7), round(f, 6), round(a, 4), *shape)
        for i, (r, d, f, a, shape) in enumerate(
            zip(ra_deg.tolist(), dec_deg.tolist(), flux.tolist(), index.tolist(), shapes, strict=True)
        )
    ]


def _shape(options: SimOptions, cell: int, number: int) -> tuple[float, float, float]:
    """Return axes (arcsec) and angle (deg) of a field source; 0 for a point. A stream of its own for each."""
    if not options.field_extended_fraction:
        return 0.0, 0.0, 0.0
    rng = generator(options.seed, Stream.SHAPE, cell, number)
    if rng.uniform() >= options.field_extended_fraction:
        return 0.0, 0.0, 0.0
    major = options.field_size_arcsec * float(np.exp(0.5 * rng.standard_normal()))
    return (
        round(major, 2),
        round(major * float(rng.uniform(0.3, 1.0)), 2),
        round(float(rng.uniform(0, 180)), 1),
    )


def background_cell(options: SimOptions, cell: int) -> list[Source]:
    """Return the background of one cell of 5 deg: points between its two fluxes, numbers as `counts` has them.

    They lie anywhere within `sky_radius_deg` of the pointing declination, near other sources too.
    """
    rng = generator(options.seed, Stream.BACKGROUND, cell)
    edges = [np.clip(options.dec_deg + s * options.sky_radius_deg, -89.9, 89.9) for s in (-1.0, 1.0)]
    sines = np.sin(np.radians(edges))
    area_sr = np.radians(CELL_DEG) * float(sines[1] - sines[0])
    flux = counts.draw(rng, options.background_min_jy, options.background_max_jy, area_sr)
    ra_deg = CELL_DEG * (cell + rng.uniform(size=len(flux)))
    dec_deg = np.degrees(np.arcsin(rng.uniform(sines[0], sines[1], size=len(flux))))
    index = rng.normal(options.field_index_mean, options.field_index_scatter, size=len(flux))
    columns = (c.tolist() for c in (ra_deg.round(7), dec_deg.round(7), flux.round(7), index.round(4)))
    return [Source(f"B{cell:02d}-{i:05d}", *row) for i, row in enumerate(zip(*columns, strict=True))]


def random_field(options: SimOptions, avoid: list[Source]) -> list[Source]:
    """Return the random population of the whole strip, thinned to the least separation.

    Of two sources that are too close the later is dropped; those too close to one of `avoid` always are.
    """
    if options.field_density_per_deg2 <= 0.0:
        return []
    drawn = [s for cell in range(round(360.0 / CELL_DEG)) for s in field_cell(options, cell)]
    limit = 2.0 * np.sin(0.5 * np.radians(options.field_separation_arcmin / 60.0))
    everything = [*avoid, *drawn]
    places = np.array([(s.ra_deg, s.dec_deg) for s in everything]).reshape(-1, 2)
    vectors = unit_vectors(places[:, 0], places[:, 1])
    kept = list(range(len(avoid)))
    field = []
    for i in range(len(avoid), len(everything)):
        if not kept or np.linalg.norm(vectors[kept] - vectors[i], axis=1).min() >= limit:
            kept.append(i)
            field.append(everything[i])
    return field


def all_sources(options: SimOptions) -> list[Source]:
    """Return the sources, names all different.

    In this order: explicit ones, the catalogue's, the A-team, the random field's and the background's.
    """
    fixed = list(options.sources)
    names = {s.name for s in fixed}
    if options.catalogue:
        fixed += [s for s in read_catalogue(options.catalogue) if s.name not in names]
    if options.a_team:
        fixed += [s for s in a_team.sources() if s.name not in names]
    sources = fixed + random_field(options, fixed)
    if options.background_min_jy:
        sources += [s for cell in range(round(360.0 / CELL_DEG)) for s in background_cell(options, cell)]
    if len({s.name for s in sources}) != len(sources):
        raise InputError("simulate: two sources have the same name; give each its own")
    return sources


def at(options: SimOptions, sources: list[Source], start_mjd: float) -> list[Source]:
    """Return the sources as they are in a tile that starts at an MJD (UTC)."""
    factors: dict[str, float] = {}
    for v in options.variations:
        factors[v.source] = factors.get(v.source, 1.0) * v.factor_at(start_mjd)
    return [
        dataclasses.replace(s, flux_jy=s.flux_jy * factors[s.name]) if s.name in factors else s
        for s in sources
    ]


def spectrum(sources: list[Source], freq_hz: np.ndarray) -> np.ndarray:
    """Return flux densities (nsrc, nfreq) in Jy: flux * x ** (index + curvature * log10(x)), x = nu / 1.4 GHz."""
    flux, index, curvature = (
        np.array([getattr(s, name) for s in sources])[:, None]
        for name in ("flux_jy", "spectral_index", "curvature")
    )
    ratio = np.asarray(freq_hz)[None, :] / REFERENCE_HZ
    return flux * ratio ** (index + curvature * np.log10(ratio))
