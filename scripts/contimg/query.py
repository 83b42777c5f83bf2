"""`contimg query`: the usual questions to the registries."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from contimg.errors import InputError
from contimg.names import strip_dec
from contimg.registry import CALTABLES, PRODUCTS

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


def noisy_tiles(
    connection: sqlite3.Connection, *, date: str | None, rms_above_jy: float
) -> tuple[Sequence[str], list[Row]]:
    """Tile images with an rms above a limit (Jy/beam), of a UTC date or of all, noisiest first."""
    heading = ("tile", "rms_jy", "mjd_start", "ra_deg", "dec_deg", "path")
    rows = connection.execute(
        "SELECT tile, rms_jy, mjd_start, ra_deg, dec_deg, path FROM product "
        "WHERE kind = 'image' AND status = 'ok' AND rms_jy > :rms AND (:date IS NULL OR date = :date) "
        "ORDER BY rms_jy DESC, path",
        {"rms": rms_above_jy, "date": date},
    )
    return heading, rows.fetchall()


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


def published(connection: sqlite3.Connection, *, date: str | None) -> tuple[Sequence[str], list[Row]]:
    """Versions that were published of a UTC date, or of all, in order of path."""
    heading = ("path", "state", "published", "product", "reason")
    rows = connection.execute(
        "SELECT path, state, published, product, reason FROM publication WHERE :date IS NULL OR date = :date "
        "ORDER BY path",
        {"date": date},
    )
    return heading, rows.fetchall()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg query`."""
    from contimg.cli import take_configuration

    parser.add_argument(
        "--products", type=Path, help="the products tree (default: that of the configuration)"
    )
    parser.add_argument("--csv", action="store_true", help="comma-separated values instead of columns")
    take_configuration(parser)
    asked = parser.add_subparsers(dest="question", metavar="QUESTION", required=True)
    tables = asked.add_parser("tables", help="good caltables for an instant and a declination, nearest first")
    tables.add_argument(
        "--at", required=True, metavar="UTC|MJD", help="such as 2025-10-30T13:00:00 or 60978.54"
    )
    tables.add_argument("--dec", required=True, type=float, metavar="DEG", help="pointing declination")
    tables.add_argument("--hours", type=float, help="how far away (default: calibration.valid_hours)")
    tiles = asked.add_parser("tiles", help="tile images with an rms above a limit, noisiest first")
    tiles.add_argument("--date", metavar="UTC", help="of this UTC date only")
    tiles.add_argument("--rms-above", required=True, type=float, metavar="MJY", help="mJy/beam")
    products = asked.add_parser("products", help="what was made of a calibrator and with its caltables")
    products.add_argument("--calibrator", required=True, metavar="NAME")
    for name, told in (
        ("rejected", "rejected products and why"),
        ("gates", "gates that products failed, with value and limits"),
        ("published", "published versions, and what became of them"),
    ):
        of_date = asked.add_parser(name, help=told)
        of_date.add_argument("--date", metavar="UTC", help="of this UTC date only")


def run(args: argparse.Namespace) -> int:
    """Print the answer as a table."""
    from contimg import registry_files as files
    from contimg.cli import read_configuration
    from contimg.config import load

    config = load(read_configuration(args.configfile, args.config), check=False).resolved(Path.cwd())
    tree: Path = config.products if args.products is None else args.products.absolute()
    path = tree / "state" / (CALTABLES if args.question == "tables" else PRODUCTS)
    files.require_there(path)
    with closing(files.open_readonly(path)) as connection:
        if args.question == "tables":
            hours = config.calibration.valid_hours if args.hours is None else args.hours
            answer = valid_tables(connection, mjd=_mjd(args.at), dec_deg=args.dec, hours=hours)
        elif args.question == "tiles":
            answer = noisy_tiles(connection, date=args.date, rms_above_jy=args.rms_above / 1e3)
        elif args.question == "products":
            answer = of_calibrator(connection, calibrator=args.calibrator)
        else:
            ask = {"rejected": rejected, "gates": failed_gates, "published": published}[args.question]
            answer = ask(connection, date=args.date)
    for line in _lines(*answer, csv=args.csv):
        print(line)
    return 0


def _mjd(text: str) -> float:
    from contimg import config_values as values
    from contimg.errors import ContimgError

    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = values.mjd(values.instant(text))
    except (ValueError, ContimgError) as error:
        raise InputError(f"--at: {error}") from error
    if found is None:
        raise InputError("--at: found nothing; write a UTC time such as 2025-10-30T13:00:00, or an MJD")
    return found


def _lines(heading: Sequence[str], rows: list[Row], *, csv: bool) -> Iterator[str]:
    """The answer as text: CSV, or columns as wide as they need to be, and a count."""
    texts = [tuple(heading), *(tuple(_text(value) for value in row) for row in rows)]
    if csv:
        import csv as csv_module
        import io

        stream = io.StringIO()
        csv_module.writer(stream, lineterminator="\n").writerows(texts)
        yield from stream.getvalue().splitlines()
        return
    widths = [max(len(row[column]) for row in texts) for column in range(len(heading))]
    for row in texts:
        yield "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
    yield f"{len(rows)} found"


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e4 else str(value)
