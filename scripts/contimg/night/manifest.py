"""The plan of a run frozen as one file, which its jobs read instead of searching directories again."""

from __future__ import annotations

from pathlib import Path

from contimg.calibrate.transits import Transit
from contimg.config.model import Config
from contimg.core.products import read_json, write_json
from contimg.index.memory import Recalled
from contimg.index.retired import Retired
from contimg.index.tile import Index
from contimg.mosaic.windows import Window
from contimg.night.night import Night
from contimg.sky.calibrators import Calibrator

_MANIFEST_VERSION = 2


def freeze(path: Path, config: Config, night: Night) -> None:
    """Write the configuration and the plan of a run as one file for its jobs."""
    index = Index(tuple(night.tiles.values()), night.left_out)
    write_json(
        path,
        {
            "version": _MANIFEST_VERSION,
            "config": config.model_dump(mode="json"),
            "index": index.to_json(),
            "selected": night.selected,
            "transits": {
                key: {**vars(transit), "calibrator": vars(transit.calibrator)}
                for key, transit in night.transits.items()
            },
            "candidates": night.candidates,
            "windows": {key: vars(window) for key, window in night.windows.items()},
            "injected": night.injected,
            "measured": night.measured,
            "retired": vars(night.retired),
            "memory": {
                ms: {path: vars(of) for path, of in past.items()} for ms, past in night.memory.items()
            },
        },
    )


def thaw(path: Path) -> tuple[Config, Night]:
    """Read what `freeze` wrote."""
    frozen = read_json(path)
    index = Index.from_json(frozen["index"])
    night = Night(
        tiles={tile.name: tile for tile in index.tiles},
        selected=tuple(frozen["selected"]),
        left_out=index.left_out,
        transits={
            key: Transit(**{**value, "calibrator": Calibrator(**value["calibrator"])})
            for key, value in frozen["transits"].items()
        },
        candidates={key: tuple(value) for key, value in frozen["candidates"].items()},
        windows={
            key: Window(**{**value, "tiles": tuple(value["tiles"])})
            for key, value in frozen["windows"].items()
        },
        injected=tuple(frozen["injected"]),
        measured=frozen["measured"],
        retired=Retired(**{what: tuple(tiles) for what, tiles in frozen["retired"].items()}),
        memory={
            ms: {path: Recalled(**of) for path, of in past.items()} for ms, past in frozen["memory"].items()
        },
    )
    return Config.model_validate(frozen["config"]), night
