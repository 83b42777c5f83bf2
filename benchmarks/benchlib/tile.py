"""The simulated tile that the benchmarks work on, the workflow run on it, and where everything lies."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchlib.cost import Cost, measure
from contimg.core import names
from contimg.simulate import options as sim

CLONE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Tile:
    """One simulated tile that its own calibrator transits, and the products made of it.

    Attributes
    ----------
    folder : Path
        Holds `incoming` and `products`; kept between runs.
    name : str
        The tile's.
    calibrator : str
    """

    folder: Path
    name: str
    calibrator: str

    @property
    def incoming(self) -> Path:
        """Raw files and truth.json."""
        return self.folder / "incoming"

    @property
    def products(self) -> Path:
        """The products tree."""
        return self.folder / "products"

    @property
    def raw_files(self) -> list[Path]:
        """The subband files."""
        return sorted(self.incoming.glob("*.hdf5"))

    @property
    def science_ms(self) -> Path:
        """The Measurement Set."""
        return self.products / names.science_ms(self.name)

    @property
    def image_dir(self) -> Path:
        """The image's directory."""
        return self.products / names.image_dir(self.name)

    @property
    def caltables(self) -> Path:
        """The caltables' directory."""
        return self.products / names.caltable_dir(self.name, self.calibrator)

    def describe(self) -> str:
        """The tile's size in a line."""
        asked = sim.from_dict(json.loads((self.incoming / "truth.json").read_text())["options"])
        size = sum(path.stat().st_size for path in self.raw_files) / 1e9
        antennas = len(asked.antennas) or asked.n_antennas
        return (
            f"one simulated tile: {antennas} antennas, {asked.n_integrations} integrations, "
            f"{asked.n_subbands * asked.n_channels} channels, {asked.n_polarizations} polarisations, {size:.2f} GB of "
            "raw files (read from the page cache)"
        )


def prepare(folder: Path, options: sim.SimOptions, threads: int) -> Tile:
    """Simulate a tile, unless it is there already with the same options."""
    tile_folder = folder / "incoming"
    found = tile_folder / "truth.json"
    wanted = json.loads(json.dumps(sim.to_dict(options)))
    if not found.is_file() or json.loads(found.read_text())["options"] != wanted:
        from contimg.simulate.night import simulate

        shutil.rmtree(folder, ignore_errors=True)
        simulate(options, tile_folder, threads=threads)
    truth = json.loads(found.read_text())
    return Tile(folder, truth["tiles"][0]["name"], options.sources[0].name)


def snakemake(tile: Tile, targets: Sequence[str], *, threads: int, settings: Sequence[str] = ()) -> Cost:
    """Run the workflow on a tile as a user does, for some targets."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(threads), *targets, "--config"]
    command += [f"incoming={tile.incoming}", f"products={tile.products}", *settings]
    return measure(command, cwd=CLONE, threads=threads)


def forget(*paths: Path) -> None:
    """Remove products, and the sidecars of Measurement Sets, so that they are made again."""
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        if path.suffix == ".ms":
            path.with_suffix(".json").unlink(missing_ok=True)


def sidecar(path: Path) -> dict[str, Any]:
    """What a product says of itself; empty if it is not there."""
    return json.loads(path.read_text()) if path.is_file() else {}
