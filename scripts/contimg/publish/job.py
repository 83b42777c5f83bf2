"""The jobs that publish: a mosaic to a version of it, and the versions of a date to their lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contimg.core import names
from contimg.core.errors import Rejected
from contimg.core.products import read_json, status, write_json
from contimg.qa.verdict import FAIL


@dataclass(frozen=True)
class PublishMosaic:
    """A mosaic and its verdict to a published version; the product of the job is a receipt."""

    product: str
    verdict: str
    receipt: str
    configuration: dict[str, Any]  # of the run, complete

    def make(self) -> str:
        """Publish the mosaic if it passed; the receipt says which version holds it."""
        import yaml

        from contimg.publish.versions import MANIFEST, publish

        verdict = read_json(Path(self.verdict))
        if verdict["verdict"] == FAIL:
            raise Rejected(f"qa: {verdict['reason']}")
        written = yaml.safe_dump(self.configuration, sort_keys=False, allow_unicode=True)
        version = publish(self.product, verdict, written)
        record = status(
            inputs=[self.product, self.verdict],
            metrics={
                "version": version.number,
                "bytes": sum(entry["bytes"] for entry in version.manifest["files"]),
            },
            published=str(version.path),
            manifest=str(version.path / MANIFEST),
        )
        write_json(Path(self.receipt), record)
        return f"published as {version.path}"

    def reject(self, reason: str) -> None:
        """Leave a receipt that says why it is not published."""
        write_json(Path(self.receipt), status(reason, inputs=[self.product, self.verdict]))


@dataclass(frozen=True)
class ListPublished:
    """The versions of a date to the lists of `published/{date}/`."""

    date: str
    listing: str

    def make(self) -> str:
        """Write the lists, if anything of the date was ever published; the product of the job says what is current."""
        from contimg.publish.listing import write_listing

        folder = Path(names.published_index(self.date)).parent
        index = write_listing(folder) if folder.is_dir() else {"products": {}}
        current = [
            name
            for name, known in index["products"].items()
            if any(entry["state"] == "current" for entry in known)
        ]
        write_json(Path(self.listing), status(metrics={"n_current": len(current)}, current=current))
        return f"{len(current)} products are published of {self.date}"

    def reject(self, reason: str) -> None:
        """Leave a record of why there are no lists."""
        write_json(Path(self.listing), status(reason))
