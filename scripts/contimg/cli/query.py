"""`contimg query`: questions to the registries, as tables."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from contimg.cli.numbers import day, number
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.qa.verdict import NOISIER
from contimg.registry.build import CALTABLES, PRODUCTS
from contimg.registry.questions import (
    Row,
    calibrators,
    failed_gates,
    measured,
    mosaics,
    near,
    of_calibrator,
    published,
    rejected,
    strips,
    tiles,
    valid_tables,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg query`."""
    from contimg.config.files import take_configuration

    _common(parser, default=None)
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
    of_tiles = asked.add_parser(
        "tiles", help="tile images, a line each, and the groups of files that none was made of"
    )
    of_tiles.add_argument("--date", type=day, metavar="UTC", help="of this UTC date only")
    of_tiles.add_argument(
        "--rms-above",
        type=number(0, 1e12),
        metavar="MJY",
        help="those whose rms is above so many mJy/beam, highest first",
    )
    products = asked.add_parser("products", help="what was made of a calibrator and with its caltables")
    products.add_argument("--calibrator", required=True, metavar="NAME")
    sources = asked.add_parser("sources", help="listed sources round a place, nearest first")
    sources.add_argument(
        "--at", required=True, metavar="PLACE", help="a name, or right ascension and declination"
    )
    sources.add_argument("--arcmin", type=number(0, 10800), default=5.0, help="how far away (default: 5)")
    for name, told in (
        ("mosaics", "mosaics, a line each"),
        ("rejected", "rejected products and why"),
        ("gates", "gates that products failed, with value and limits"),
        ("published", "published versions, and what became of them"),
        ("photometry", "mosaics that were measured: how many sources, how many seen"),
    ):
        of_date = asked.add_parser(name, help=told)
        of_date.add_argument("--date", type=day, metavar="UTC", help="of this UTC date only")
    for question in asked.choices.values():  # behind the question as well
        _common(question, default=argparse.SUPPRESS)


def _common(parser: argparse.ArgumentParser, *, default: object) -> None:
    """Declare what may stand before a question and behind it."""
    parser.add_argument(
        "--products",
        type=Path,
        default=default,
        help="the products tree (default: that of the configuration)",
    )
    parser.add_argument(
        "--csv", action="store_true", default=default, help="comma-separated values instead of columns"
    )


def run(args: argparse.Namespace) -> int:
    """Print the answer as a table."""
    from contimg.config.load import of_arguments, tree_of
    from contimg.registry import files

    config = of_arguments(args, check=False)
    tree = tree_of(args, config)
    path = tree / "state" / (CALTABLES if args.question == "tables" else PRODUCTS)
    files.require_there(path)
    notes = _older(tree, path)
    with closing(files.open_readonly(path)) as connection:
        if args.question == "tables":
            hours = config.calibration.valid_hours if args.hours is None else args.hours
            answer = valid_tables(connection, mjd=_mjd(args.at), dec_deg=args.dec, hours=hours)
            if not answer[1]:
                notes.append(_strips(strips(connection), args.dec, hours))
        elif args.question == "tiles":
            heading, rows = tiles(connection, date=args.date, rms_above_mjy=args.rms_above)
            answer = heading, [_explained(row, tree) for row in rows]
            if args.rms_above is None:
                answer[1].extend(_left_out(tree, args.date))
                answer[1].sort(key=lambda row: str(row[0]))
        elif args.question == "products":
            answer = of_calibrator(connection, calibrator=args.calibrator)
            if not answer[1]:
                there = ", ".join(calibrators(connection)) or "none"
                notes.append(f"nothing of {args.calibrator}; calibrators with products: {there}")
        elif args.question == "sources":
            from contimg.photometry.positions import parse

            place = parse(args.at)
            answer = near(
                connection, ra_deg=place.ra.deg, dec_deg=place.dec.deg, radius_deg=args.arcmin / 60.0
            )
        else:
            ask = {
                "mosaics": mosaics,
                "rejected": rejected,
                "gates": failed_gates,
                "published": published,
                "photometry": measured,
            }[args.question]
            answer = ask(connection, date=args.date)
            if args.question == "gates" and not answer[1]:
                notes.append("no gate failed; the night's page, qa/{date}.html, has every gate's value")
    for line in _lines(*answer, csv=bool(args.csv)):
        print(line)
    for note in notes:
        print(f"contimg: {note}", file=sys.stderr)
    return 0


def _older(tree: Path, registry: Path) -> list[str]:
    """Say that products came, went or were withdrawn since the registry was built: their folders changed."""
    patterns = ("ms/*/*", "cal/*", "images/*", "mosaics/*", "qa/*", "photometry/*", "published/*/*")
    built = registry.stat().st_mtime_ns
    newer = [path for pattern in patterns for path in tree.glob(pattern) if path.stat().st_mtime_ns > built]
    if not newer:
        return []
    return [
        f"the registry is older than the tree ({newer[0].relative_to(tree)} changed since): `contimg registry build "
        f"--products {shlex.quote(str(tree))}` makes it anew"
    ]


def _strips(known: Sequence[float], dec_deg: float, hours: float) -> str:
    there = ", ".join(f"{dec:+g}" for dec in known) or "none"
    return (
        f"no good caltable of a strip at {dec_deg:+g} within {hours:g} h; strips with good caltables: {there}"
    )


def _left_out(tree: Path, date: str | None) -> list[Row]:
    """Groups of files that no tile was made of, as the newest run report of their range says."""
    found: dict[str, Row] = {}
    for path in sorted(tree.glob("plan/*.report.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            entries = [(str(entry["tile"]), str(entry["reason"])) for entry in read_json(path)["left_out"]]
        except (InputError, LookupError, TypeError):
            continue
        for tile, reason in entries:
            if date is None or tile.startswith(date):
                found[tile] = (tile, None, None, None, None, None, "left out", reason)
    return list(found.values())


def _explained(row: Row, tree: Path) -> Row:
    """A tile's row, with why it is noisier than expected, which its verdict says, where no other reason stands."""
    *before, reason = row
    verdict = tree / names.tile_verdict(str(row[0]))
    if reason is not None or row[2] is None or row[2] <= NOISIER or not verdict.is_file():
        return row
    return (*before, read_json(verdict)["metrics"].get("why_noisy"))


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
