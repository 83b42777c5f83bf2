"""What the service runs with: the configuration, the workflow and where its own files lie."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.config.service import ServiceOptions
from contimg.core.provenance import REPOSITORY
from contimg.service.orders import Place


@dataclass(frozen=True)
class Settings:
    """Settings of a service.

    Attributes
    ----------
    config : Config
        With absolute paths.
    options : ServiceOptions
        Its section `service`.
    snakefile : Path
        The workflow.
    base : dict
        The configuration as plain values, for runs.
    engine : tuple of str
        The command that runs the workflow.
    """

    config: Config
    options: ServiceOptions
    snakefile: Path = REPOSITORY / "Snakefile"
    base: dict[str, Any] = field(default_factory=dict)
    engine: tuple[str, ...] = (sys.executable, "-m", "snakemake")

    @classmethod
    def of(cls, config: Config, *, snakefile: Path | None = None) -> Settings:
        """Settings of a configuration with absolute paths."""
        base = config.model_dump(mode="json")
        return cls(config, config.service, snakefile or REPOSITORY / "Snakefile", base)

    @property
    def products(self) -> Path:
        """The products tree."""
        return Path(self.config.products)

    @property
    def state(self) -> Path:
        """Where the service's own files lie: job list, tokens, audit log, a folder for each batch."""
        return self.products / "state" / "service"

    @property
    def place(self) -> Place:
        """Where paths of requests may lie."""
        return Place(self.products, self.options.allowed(self.products, Path(self.config.incoming)))

    def folder(self, batch: int) -> Path:
        """Where the runs of a batch leave their records and logs."""
        return self.state / "batches" / str(batch)

    def tree(self, branch: int | None) -> Path:
        """The products tree of a batch."""
        return self.products if branch is None else self.products / "batches" / str(branch)

    def arguments(self, cores: int | None = None) -> list[str]:
        """Snakemake's options that say where jobs run."""
        if self.options.profile is not None:
            return ["--profile", self.options.profile]
        return ["--cores", str(self.cores(cores))]

    def cores(self, wanted: int | None = None) -> int | str:
        """Cores of a run: as configured, or fewer if the request wants fewer."""
        own = self.options.cores
        if wanted is None:
            return own
        return wanted if own == "all" else min(int(own), wanted)
