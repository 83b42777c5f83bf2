"""A tile's image as other jobs of its tile read it: the one place that knows what imaging did to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from contimg.core.errors import Rejected
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.image.place import as_observed


@dataclass(frozen=True)
class Made:
    """The directory of an image that was not rejected.

    Attributes
    ----------
    directory : Path
    tile : str
    record : dict
        Its sidecar.
    """

    directory: Path
    tile: str
    record: dict[str, Any]

    @classmethod
    def read(cls, directory: Path, tile: str, *, without: str) -> Made:
        """Read a sidecar; raises Rejected, whose reason begins with `without`, where there is no image."""
        record = read_json(directory / STATUS)
        if record["reason"] is not None:
            raise Rejected(f"{without}: {record['reason']}")
        return cls(directory, tile, record)

    def file(self, kind: str) -> Path:
        """Path of one of its planes: "image", "pbcor", "pb", "rms" …"""
        return self.directory / f"{self.tile}.{kind}.fits"

    def fitted(self) -> pd.DataFrame | None:
        """The sources fitted to the visibilities, where these have them; None: none was fitted."""
        path = self.directory / f"{self.tile}.sources.parquet"
        return self.as_observed(pd.read_parquet(path)) if path.is_file() else None

    def as_observed(self, table: pd.DataFrame) -> pd.DataFrame:
        """Sources of the image, ``ra_deg, dec_deg``, brought to where the visibilities have them."""
        return as_observed(table, self.record["metrics"].get("shift"))
