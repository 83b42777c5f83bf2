"""Whether anything still needs a tile's data: the one decision that everything which deletes asks for.

It looks at the state as it is now, and at digests, never at times: what is there, whether it is good, whether each
product was made of just what is there today, with the settings of today, and whether what was published of it is
whole. What cannot be told holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.core import names
from contimg.core.apart import Fingerprints
from contimg.core.errors import ContimgError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json
from contimg.index.tile import Tile
from contimg.jobs.frame import ERROR_PREFIX
from contimg.night.night import Night
from contimg.plan.again import SETTINGS
from contimg.plan.again import section as section_of
from contimg.publish.versions import damaged, digests, published_versions
from contimg.qa.verdict import PASS


class _Held(Exception):
    """Something still needs the data; the message says what."""


class Needed:
    """What the products of a run's tiles still need, asked tile by tile; what several tiles share is looked at once.

    Parameters
    ----------
    night : Night
        The run, planned from the files that are there now.
    config : Config
        Of the run, with absolute paths.
    fingerprints : Fingerprints
        Takes those of what is there.
    """

    def __init__(self, night: Night, config: Config, fingerprints: Fingerprints) -> None:
        self._fingerprints = fingerprints
        self._night, self._config, self._tree = night, config, Path(config.products)
        self._settings = config.model_dump(mode="json")
        self._mosaics = self._holders()
        self._known: dict[str, str | None] = {}
        self._marks: dict[str, str | None] = {}

    def tile(self, name: str) -> str | None:
        """Why a tile's raw files and science Measurement Set have to stay; None if they may go."""
        tile = self._night.tiles[name]
        transits = [path for path, transit in self._night.transits.items() if transit.tile == name]
        mosaics = sorted(self._mosaics.get(name, ()))
        return (
            self._once(f"set of {name}", lambda: self._set(tile))
            or next((why for path in transits if (why := self.caltable(path)) is not None), None)
            or self._once(f"image of {name}", lambda: self._image(tile))
            or (None if mosaics else "no mosaic holds it")
            or next((why for path in mosaics if (why := self._mosaic_of(path, name)) is not None), None)
        )

    def caltable(self, path: str) -> str | None:
        """Why the data of a transit have to stay for its caltables; None if they may go."""
        return self._once(path, lambda: self._caltable(path))

    def _mosaic_of(self, path: str, tile: str) -> str | None:
        return self._once(path, lambda: self._mosaic(path)) or self._once(
            f"{tile} in {path}", lambda: self._used(path, tile)
        )

    def _once(self, key: str, look: Callable[[], None]) -> str | None:
        if key not in self._known:
            try:
                look()
                self._known[key] = None
            except _Held as held:
                self._known[key] = str(held)
            except (ContimgError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
                self._known[key] = f"{key} cannot be judged ({type(error).__name__}: {error})"
        return self._known[key]

    def _mark(self, path: str) -> str | None:
        """Fingerprint of what lies at a path of the tree, or at an absolute one."""
        if path not in self._marks:
            self._marks[path] = self._fingerprints.of(self._tree / path)
        return self._marks[path]

    def _sidecar(self, path: str, product: str) -> dict[str, Any]:
        if not (self._tree / path).is_file():
            raise _Held(f"{product} is not made")
        found = read_json(self._tree / path)
        if not isinstance(found, dict):
            raise _Held(f"{path} is no sidecar")
        return found

    def _good(self, product: str, record: Mapping[str, Any]) -> bool:
        """Whether a product is good; False for one that is rejected and need not be kept."""
        reason = record["reason"]
        if reason is None:
            return True
        if ERROR_PREFIX in reason:
            raise _Held(f"{product} ended with an error ({reason})")
        if self._config.retention.rejected == "keep":
            raise _Held(f"{product} is rejected ({reason}), and retention.rejected is keep")
        return False

    def _as_set(self, product: str, record: Mapping[str, Any], kind: str) -> None:
        """Hold what was made with other settings than those of today."""
        name = record["configuration"]
        kept = self._tree / "state" / "configs" / f"{name}.json"
        if name is None or not kept.is_file():
            raise _Held(f"{product} was made outside a run: its settings are not known")
        then = read_json(kept)
        for section in SETTINGS[kind]:
            old, new = (section_of(values, section) for values in (then, self._settings))
            if old != new:
                raise _Held(f"{product} was made with another `{section}` than the configuration's")

    def _made_of(self, product: str, record: Mapping[str, Any], wanted: Iterable[str]) -> None:
        """Hold what was not made of just these inputs, as they are now."""
        marks = record["digests"]
        for path in wanted:
            if path not in marks:
                raise _Held(f"{product} was made without {path}")
        for path, mark in marks.items():
            if self._mark(path) != mark:
                raise _Held(f"{product} was made before {path} changed")

    def _whole(self, product: str, record: Mapping[str, Any]) -> None:
        if self._mark(product) != record.get("contents"):
            raise _Held(f"{product} changed since it was made")

    def _set(self, tile: Tile) -> None:
        path, files = names.science_ms(tile.name), set(tile.files)
        record = self._sidecar(names.science_sidecar(tile.name), path)
        self._good(path, record)
        self._as_set(path, record, "set")
        if set(record["inputs"]) != files:
            raise _Held(f"{path} was made of other raw files than are there")
        self._raw_as_it_was(path, record, tile)
        if (self._tree / path).exists():
            self._whole(path, record)
        elif tile.name not in self._night.retired.sets:
            raise _Held(f"{path} is not made")

    def _raw_as_it_was(self, product: str, record: Mapping[str, Any], tile: Tile) -> None:
        gone = tile.name in self._night.retired.raw  # some of them: an earlier retirement was interrupted
        for path in tile.files:
            mark = self._mark(path)
            if not (mark is None and gone) and mark != record["digests"].get(path):
                raise _Held(f"{product} was made before {path} changed")

    def _caltable(self, path: str) -> None:
        transit = self._night.transits[path]
        record = self._sidecar(f"{path}/{STATUS}", path)
        good = self._good(path, record)
        self._as_set(path, record, "caltable")
        if good:
            self._whole(path, record)
        ms = names.calibrator_ms(transit.tile, transit.calibrator.name)
        converted = self._sidecar(ms.removesuffix(".ms") + ".json", ms)
        tile = self._night.tiles[transit.tile]
        if set(converted["inputs"]) != set(tile.files):
            raise _Held(f"{path} was made of other raw files than are there")
        self._raw_as_it_was(path, converted, tile)

    def _image(self, tile: Tile) -> None:
        path, ms = names.image_dir(tile.name), names.science_ms(tile.name)
        candidates = self._night.cal_dirs(tile.name)
        tables = [self._sidecar(f"{one}/{STATUS}", one) for one in candidates]
        record = self._sidecar(f"{path}/{STATUS}", path)
        self._as_set(path, record, "image")
        marks = dict(record["digests"])
        converted = self._sidecar(names.science_sidecar(tile.name), ms)
        if self._good(path, record):
            if marks.pop(ms, None) != converted["contents"]:
                raise _Held(f"{path} was made before {ms} changed")
            best = next(
                (one for one, table in zip(candidates, tables, strict=True) if table["reason"] is None), None
            )
            if str(Path(record["caltables"][0]).parent) != best:
                raise _Held(f"{path} was made with other caltables than the best one, {best}")
            self._made_of(path, {"digests": marks}, record["caltables"])
            self._whole(path, record)
        self._verdict(names.tile_verdict(tile.name), path)
        if tile.name in self._night.injected:
            injected = names.injection_record(tile.name)
            self._good(injected, self._sidecar(injected, injected))

    def _verdict(self, path: str, product: str) -> bool:
        """Whether what QA says of a product, as it is now, is good; False where that need not be."""
        record = self._sidecar(path, path)
        good = self._good(path, record) and record["verdict"] == PASS
        self._as_set(path, record, "verdict")
        self._made_of(path, record, [product])
        return good

    def _mosaic(self, path: str) -> None:
        found = names.product_of(path)
        record = self._sidecar(f"{path}/{STATUS}", path)
        good = self._good(path, record)
        self._as_set(path, record, "mosaic")
        window = self._night.windows.get(path)
        images = None if window is None else {names.image_dir(tile) for tile in window.tiles}
        if images is not None and images != {one for one in record["inputs"] if one.startswith("images/")}:
            raise _Held(f"{path} was made of other tiles than are there")
        self._made_of(path, record, record["inputs"])
        if not good or found is None:
            return
        self._whole(path, record)
        if self._verdict(names.verdict(found.date, found.name), path):
            self._published(path, record)

    def _published(self, path: str, record: Mapping[str, Any]) -> None:
        versions = published_versions(self._tree / names.publication(path))
        pixels, tiles = digests(self._tree / path), _tiles(record)
        same = [version for version in versions if version.manifest["sources"] == pixels]
        kept = [version for version in same if version.withdrawn is None]
        if not versions:
            raise _Held(f"{path} is not published")
        if same and not kept:
            raise _Held(f"{path} is withdrawn ({same[-1].withdrawn})")
        if not kept:
            raise _Held(f"{path} is not published as it is now")
        complete = [version for version in kept if _tiles(version.manifest["provenance"]) == tiles]
        if not complete:
            raise _Held(f"{path} is published with other tiles")
        broken = [damaged(version) for version in complete]
        if all(broken):
            raise _Held(f"its publication is damaged: {broken[-1][0]}")

    def _used(self, path: str, tile: str) -> None:
        """Hold a tile that is good and is not in the mosaic."""
        record = read_json(self._tree / path / STATUS)
        entry = next((entry for entry in record["tiles"] if entry["tile"] == tile), None)
        if entry is None:
            raise _Held(f"{path} was made without {tile}")
        if entry["status"] != "ok":
            image = read_json(self._tree / names.image_dir(tile) / STATUS)
            verdict = read_json(self._tree / names.tile_verdict(tile))
            if image["reason"] is None and verdict["verdict"] == PASS:
                raise _Held(f"{path} was made without {tile} ({entry['reason']})")

    def _holders(self) -> dict[str, set[str]]:
        """Mosaics that hold each tile: those of the run, and those of other runs that are there."""
        held: dict[str, set[str]] = {}
        for path, window in self._night.windows.items():
            for name in window.tiles:
                held.setdefault(name, set()).add(path)
        for sidecar in self._tree.glob(f"mosaics/*/*/{STATUS}"):
            path = str(sidecar.parent.relative_to(self._tree))
            if names.product_of(path) is None or path in self._night.windows:
                continue
            for entry in _inputs(sidecar) or self._night.selected:
                held.setdefault(Path(entry).name, set()).add(path)
        return held


def _inputs(sidecar: Path) -> list[str]:
    """Inputs of a mosaic of another run; none where its sidecar cannot be read: it may hold every tile."""
    try:
        return [str(path) for path in read_json(sidecar)["inputs"]]
    except (ContimgError, LookupError, TypeError):
        return []


def _tiles(record: Mapping[str, Any]) -> set[str]:
    return {entry["tile"] for entry in record["tiles"] if entry["status"] == "ok"}
