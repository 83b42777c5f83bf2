"""The options of what happens to finished products: sections of the configuration, as in `contimg.options`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from contimg.options import NUMBER, Options, key


class RegistryOptions(Options):
    """The registries under `state/`: SQLite files that answer questions on the products."""

    backups: Annotated[int, Field(ge=0, le=1000), NUMBER] = key(
        7, "How many earlier versions of each registry are kept under state/backups/."
    )
