"""What the registry of products tells beside the products: what their gates said and what was published of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core.errors import InputError
from contimg.core.products import read_json
from contimg.registry.sidecars import two_below

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Record:
    """A verdict, or the versions that were published of a product.

    Attributes
    ----------
    path : str
        Of the verdict or of the folder of the versions, relative to the products tree.
    verdict : dict or None
        The verdict, as `contimg.qa.verdict.record` made it.
    versions : tuple of dict
        As `contimg.publish.listing.entry` tells them.
    problem : str
        Why there is neither.
    """

    path: str
    verdict: dict[str, Any] | None = None
    versions: tuple[dict[str, Any], ...] = ()
    problem: str = ""

    @property
    def date(self) -> str:
        """The UTC date in its path."""
        return self.path.split("/")[1]


def read_records(tree: Path) -> Iterator[Record]:
    """Read every verdict of a products tree and every record of a publication, in order of path."""
    for path in two_below(tree / "published"):
        if path.is_dir() and ".part." not in path.name:
            yield _published(str(path.relative_to(tree)), path)
    for path in two_below(tree / "qa"):
        if path.suffix == ".json":
            yield _judged(str(path.relative_to(tree)), path)


def add_row(rows: Rows, table: str, row: tuple[Any, ...]) -> None:
    """Add a row of a table."""
    rows.setdefault(table, []).append(row)


def record_rows(record: Record, number: int, rows: Rows) -> None:
    """Add the rows that a record gives; a verdict is row `number` of its table."""
    if record.problem:
        add_row(rows, "unreadable", (record.path, record.problem))
    for version in record.versions:
        path = f"{record.path}/v{version['version']}"
        values = (version[key] for key in ("version", "state", "published", "reason"))
        add_row(rows, "publication", (path, version["product"], None, record.date, *values))
    if record.verdict is not None:
        found = record.verdict
        values = (found[key] for key in ("kind", "verdict", "reason"))
        add_row(rows, "verdict", (number, record.path, found["product"], None, record.date, *values))
        for name, gate in found["gates"].items():
            values = (gate[key] for key in ("value", "low", "high", "unit", "verdict", "reason", "advisory"))
            add_row(rows, "gate", (number, name, *values))


def _published(name: str, folder: Path) -> Record:
    from contimg.publish.listing import entry
    from contimg.publish.versions import published_versions

    try:
        known = published_versions(folder)
        return Record(name, versions=tuple(entry(version, known) for version in known))
    except InputError as error:
        return Record(name, problem=str(error))
    except (AttributeError, LookupError, TypeError) as error:
        return Record(name, problem=f"a manifest is not what is expected: {type(error).__name__}: {error}")


def _judged(name: str, path: Path) -> Record:
    try:
        content = read_json(path)
    except InputError as error:
        return Record(name, problem=str(error).removeprefix(f"{path}: "))
    if not isinstance(content, dict) or content.get("verdict") not in ("pass", "fail"):
        return Record(name, problem="expected a verdict, pass or fail")
    return Record(name, verdict=content)
