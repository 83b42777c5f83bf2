"""`contimg query`: questions to the registries, as tables."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from contimg.cli.numbers import number
from contimg.core.errors import InputError
from contimg.registry.build import CALTABLES, PRODUCTS
from contimg.registry.questions import (
    Row,
    failed_gates,
    measured,
    near,
    noisy_tiles,
    of_calibrator,
    published,
    rejected,
    valid_tables,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg query`."""
    from contimg.config.files import take_configuration

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
    tables.add_argument(
        "--dec", required=True, type=number(-90, 90), metavar="DEG", help="pointing declination"
    )
    tables.add_argument(
        "--hours", type=number(0, 1e6), help="how far away (default: calibration.valid_hours)"
    )
    tiles = asked.add_parser("tiles", help="tile images with an rms above a limit, noisiest first")
    tiles.add_argument("--date", metavar="UTC", help="of this UTC date only")
    tiles.add_argument("--rms-above", required=True, type=number(0, 1e12), metavar="MJY", help="mJy/beam")
    products = asked.add_parser("products", help="what was made of a calibrator and with its caltables")
    products.add_argument("--calibrator", required=True, metavar="NAME")
    sources = asked.add_parser("sources", help="listed sources round a place, nearest first")
    sources.add_argument(
        "--at", required=True, metavar="PLACE", help="a name, or right ascension and declination"
    )
    sources.add_argument("--arcmin", type=float, default=5.0, help="how far away (default: 5)")
    for name, told in (
        ("rejected", "rejected products and why"),
        ("gates", "gates that products failed, with value and limits"),
        ("published", "published versions, and what became of them"),
        ("photometry", "mosaics that were measured: how many sources, how many seen"),
    ):
        of_date = asked.add_parser(name, help=told)
        of_date.add_argument("--date", metavar="UTC", help="of this UTC date only")


def run(args: argparse.Namespace) -> int:
    """Print the answer as a table."""
    from contimg.config.files import read_configuration
    from contimg.config.load import load
    from contimg.registry import files

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
        elif args.question == "sources":
            from contimg.photometry.positions import parse

            place = parse(args.at)
            answer = near(
                connection, ra_deg=place.ra.deg, dec_deg=place.dec.deg, radius_deg=args.arcmin / 60.0
            )
        else:
            ask = {
                "rejected": rejected,
                "gates": failed_gates,
                "published": published,
                "photometry": measured,
            }[args.question]
            answer = ask(connection, date=args.date)
    for line in _lines(*answer, csv=args.csv):
        print(line)
    return 0


def _mjd(text: str) -> float:
    from contimg.core import values
    from contimg.core.errors import ContimgError

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
