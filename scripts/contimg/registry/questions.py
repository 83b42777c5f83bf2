"""`contimg query`: the usual questions to the registries."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from contimg.core.names import strip_dec

Row = tuple[Any, ...]


def valid_tables(
    connection: sqlite3.Connection, *, mjd: float, dec_deg: float, hours: float
) -> tuple[Sequence[str], list[Row]]:
    """Good caltables of a strip, at most `hours` from an instant (MJD UTC), nearest first."""
    heading = ("path", "calibrator", "hours", "apparent_flux_jy", "phase_scatter_deg", "flagged_fraction")
    rows = connection.execute(
        "SELECT path, calibrator, round((mjd - :mjd) * 24.0, 2), apparent_flux_jy, phase_scatter_deg, flagged_fraction "
        "FROM caltable WHERE strip_deg = :strip AND mjd BETWEEN :mjd - :days AND :mjd + :days AND status = 'ok' "
        "ORDER BY abs(mjd - :mjd), path",
        {"mjd": mjd, "strip": strip_dec(dec_deg), "days": hours / 24.0},
    )
    return heading, rows.fetchall()


def tiles(
    connection: sqlite3.Connection, *, date: str | None, rms_above_mjy: float | None = None
) -> tuple[Sequence[str], list[Row]]:
    """Tile images of a UTC date, or of all, in order of time; those with an rms above a limit alone, highest first."""
    heading = ("tile", "rms_mjy", "rms_over_expected", "flagged", "caltable", "verdict", "status", "reason")
    rows = connection.execute(
        "SELECT image.tile, round(1e3 * image.rms_jy, 3), "
        "(SELECT round(value, 2) FROM gate WHERE verdict_id = verdict.id AND name = 'rms'), "
        "round(coalesce(image.flag_fraction, ms.flag_fraction), 3), "
        "CASE WHEN image.status = 'ok' THEN (SELECT replace(path, 'cal/' || image.date || '/', '') FROM source "
        "  WHERE product_id = image.id AND path LIKE 'cal/%' ORDER BY path LIMIT 1) END, "
        "verdict.verdict, image.status, coalesce(image.reason, verdict.reason) "
        "FROM product AS image "
        "LEFT JOIN product AS ms ON ms.kind = 'science_ms' AND ms.tile = image.tile "
        "LEFT JOIN verdict ON verdict.product_id = image.id "
        "WHERE image.kind = 'image' AND (:date IS NULL OR image.date = :date) "
        "AND (:rms IS NULL OR (image.status = 'ok' AND 1e3 * image.rms_jy > :rms)) "
        "ORDER BY CASE WHEN :rms IS NULL THEN 0 ELSE -image.rms_jy END, image.tile",
        {"rms": rms_above_mjy, "date": date},
    )
    return heading, rows.fetchall()


def mosaics(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Mosaics of a UTC date, or of all, in order of path."""
    heading = ("mosaic", "rms_mjy", "tiles", "verdict", "status", "published", "reason")
    rows = connection.execute(
        "SELECT mosaic.path, round(1e3 * mosaic.rms_jy, 3), "
        "(SELECT sum(status = 'ok') || ' of ' || count(*) FROM mosaic_tile WHERE mosaic_id = mosaic.id), "
        "verdict.verdict, mosaic.status, "
        "(SELECT 'v' || version || ' ' || state FROM publication WHERE product = mosaic.path ORDER BY version DESC "
        "LIMIT 1), coalesce(mosaic.reason, verdict.reason) "
        "FROM product AS mosaic LEFT JOIN verdict ON verdict.product_id = mosaic.id "
        "WHERE mosaic.kind = 'mosaic' AND (:date IS NULL OR mosaic.date = :date) ORDER BY mosaic.path",
        {"date": date},
    )
    return heading, rows.fetchall()


def strips(connection: sqlite3.Connection) -> list[float]:
    """Strips (rounded pointing declinations, degrees) that have good caltables."""
    rows = connection.execute(
        "SELECT DISTINCT strip_deg FROM caltable WHERE status = 'ok' AND strip_deg IS NOT NULL ORDER BY strip_deg"
    )
    return [float(row[0]) for row in rows]


def calibrators(connection: sqlite3.Connection) -> list[str]:
    """Calibrators that have products."""
    rows = connection.execute(
        "SELECT DISTINCT calibrator FROM product WHERE calibrator IS NOT NULL ORDER BY calibrator"
    )
    return [str(row[0]) for row in rows]


def of_calibrator(connection: sqlite3.Connection, *, calibrator: str) -> tuple[Sequence[str], list[Row]]:
    """Products that a calibrator made: its own, and those that its caltables went into, in order of path."""
    heading = ("path", "kind", "status", "reason")
    rows = connection.execute(
        "WITH RECURSIVE made(id) AS ("
        "  SELECT id FROM product WHERE calibrator = :name"
        "  UNION SELECT source.product_id FROM source JOIN made ON source.source_id = made.id"
        ") SELECT path, kind, status, reason FROM product JOIN made USING (id) ORDER BY path",
        {"name": calibrator},
    )
    return heading, rows.fetchall()


def rejected(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Rejected products of a UTC date, or of all, with their reasons."""
    heading = ("path", "kind", "reason")
    rows = connection.execute(
        "SELECT path, kind, reason FROM rejected WHERE :date IS NULL OR date = :date ORDER BY path",
        {"date": date},
    )
    return heading, rows.fetchall()


def failed_gates(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Gates that products of a UTC date, or of all, failed: the product's, then the gate's name.

    A product that failed because it was rejected has no gates; `rejected` tells those.
    """
    heading = ("product", "gate", "value", "low", "high", "unit", "advisory")
    rows = connection.execute(
        "SELECT verdict.product, gate.name, value, low, high, unit, CASE WHEN advisory THEN 'yes' END "
        "FROM gate JOIN verdict ON verdict.id = verdict_id "
        "WHERE gate.verdict = 'fail' AND (:date IS NULL OR date = :date) ORDER BY verdict.product, gate.name",
        {"date": date},
    )
    return heading, rows.fetchall()


def measured(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Photometry of mosaics of a UTC date, or of all: how many sources were measured and seen."""
    heading = ("path", "status", "n_sources", "n_seen", "image_over_visibilities", "reason")
    rows = connection.execute(
        "SELECT path, status, n_sources, n_seen, round(image_over_visibilities, 4), reason FROM photometry "
        "WHERE :date IS NULL OR date = :date ORDER BY path",
        {"date": date},
    )
    return heading, rows.fetchall()


def near(
    connection: sqlite3.Connection, *, ra_deg: float, dec_deg: float, radius_deg: float
) -> tuple[Sequence[str], list[Row]]:
    """Listed sources within a radius of a place (ICRS degrees), nearest first."""
    heading = ("source_id", "ra_deg", "dec_deg", "flux_jy", "origin", "name", "arcsec")
    rows = connection.execute(
        "SELECT * FROM ("
        "  SELECT source_id, ra_deg, dec_deg, flux_jy, origin, name, round(3600 * degrees(2 * asin(min(1, sqrt("
        "    power(sin(radians(dec_deg - :dec) / 2), 2) + cos(radians(dec_deg)) * cos(radians(:dec)) "
        "    * power(sin(radians(ra_deg - :ra) / 2), 2))))), 1) AS arcsec"
        "  FROM sky_source WHERE dec_deg BETWEEN :dec - :radius AND :dec + :radius"
        ") WHERE arcsec <= 3600 * :radius ORDER BY arcsec, source_id",
        {"ra": ra_deg, "dec": dec_deg, "radius": radius_deg},
    )
    return heading, rows.fetchall()


def published(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Versions that were published of a UTC date, or of all, in order of path."""
    heading = ("path", "state", "published", "product", "reason")
    rows = connection.execute(
        "SELECT path, state, published, product, reason FROM publication WHERE :date IS NULL OR date = :date "
        "ORDER BY path",
        {"date": date},
    )
    return heading, rows.fetchall()
