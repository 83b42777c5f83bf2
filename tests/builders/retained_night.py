"""A small night with everything that is made of it, in files of a few bytes: what retention decides on."""

import os
from dataclasses import replace
from pathlib import Path

from builders.tiles import strip_of_tiles
from contimg.config.model import Config
from contimg.core import names, products, provenance
from contimg.core.digests import fingerprint, sha256
from contimg.core.products import read_json, status, write_json
from contimg.index import retired
from contimg.index.retired import merge
from contimg.index.tile import Index, Slot
from contimg.night.night import arrange
from contimg.night.remains import settle
from contimg.publish.versions import digests
from contimg.qa import verdict as qa
from contimg.run import retention
from contimg.sky.calibrators import Calibrator

SOURCE = Calibrator("A", 123.0, 55.1, 8.0, -0.5, "test")  # crosses in the third of three tiles
NOW = names.tile_mjd("2025-11-09T12:00:00")
ALL = {"raw_days": 0, "science_days": 0, "calibrators_days": 0, "calibrated_days": 0}


class RetainedNight:
    """Three tiles, a caltable, the sidereal windows, their verdicts and publications; cwd is the products tree."""

    def __init__(self, root: Path, **settings):
        self.incoming, self.tree, self.archive = root / "incoming", root / "products", root / "archive"
        self.incoming.mkdir(parents=True)
        self.tree.mkdir()
        os.chdir(self.tree)
        self.configure(**({"retention": ALL} | settings))
        self.all_tiles = []
        for tile in strip_of_tiles(count=3):
            slots = tuple(
                Slot(str(self.incoming / f"{tile.name}_sb{k:02d}.hdf5"), 1.31e9 + k * 1e7, 48, 244140.625)
                for k in range(2)
            )
            self.all_tiles.append(replace(tile, slots=slots))
            for path in self.all_tiles[-1].files:
                Path(path).write_bytes(f"{tile.name} {path[-9:]}".encode())
        self.names = [tile.name for tile in self.all_tiles]

    def configure(self, **settings):
        """Settings of the runs from here on."""
        settings = {"incoming": str(self.incoming), "products": str(self.tree), "catalog": None, **settings}
        self.config = Config.model_validate(settings).resolved(self.tree)
        os.environ[provenance.CONFIGURATION_VARIABLE] = products.keep_configuration(
            self.config.model_dump(mode="json"), self.tree
        )

    def index(self):
        """What is there of the raw files: a tile that lacks some is left out."""
        there = [tile for tile in self.all_tiles if all(Path(path).exists() for path in tile.files)]
        return Index(tuple(there), ())

    def night(self):
        index, gone = merge(self.index(), retired.records(self.tree), self.tree)
        night = arrange(self.config, index, [SOURCE], gone)
        parts = ("transits", "candidates", "windows", "injected")
        return replace(night, **settle(self.tree, gone, **{name: getattr(night, name) for name in parts}))

    @property
    def windows(self):
        return arrange(self.config, Index(tuple(self.all_tiles), ()), [SOURCE]).windows

    @property
    def caltable(self):
        (path,) = arrange(self.config, Index(tuple(self.all_tiles), ()), [SOURCE]).transits
        return path

    def make(self, mark="1"):
        """Everything, as a run with the target `publish` does."""
        for tile in self.names:
            self.convert(tile, mark)
        self.calibrate(mark)
        for tile in self.names:
            self.image(tile, mark)
            self.judge(names.image_dir(tile), tile)
        for path in self.windows:
            self.mosaic(path, mark)
            self.judge(path)
            self.publish(path)

    def files(self, tile):
        return list(next(one for one in self.all_tiles if one.name == tile).files)

    def _set(self, ms, tile, mark):
        path = self.tree / ms
        path.mkdir(parents=True, exist_ok=True)
        (path / "table.dat").write_text(
            f"{mark} of " + ",".join(Path(one).read_text() for one in self.files(tile))
        )
        write_json(path.with_suffix(".json"), status(inputs=self.files(tile), contents=fingerprint(path)))

    def convert(self, tile, mark="1"):
        self._set(names.science_ms(tile), tile, mark)

    def calibrate(self, mark="1", reason=None):
        self._set(names.calibrator_ms(self.names[2], SOURCE.name), self.names[2], mark)
        ms = self.tree / names.calibrator_ms(self.names[2], SOURCE.name) / "table.dat"
        self._directory(
            self.caltable, "K", f"{mark} {ms.read_text()}", status(reason, inputs=self.files(self.names[2]))
        )

    def _directory(self, path, name, text, record):
        folder = self.tree / path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        write_json(folder / "status.json", {**record, "contents": fingerprint(folder)})

    def image(self, tile, mark="1", reason=None):
        ms = names.science_ms(tile)
        record = status(reason, inputs=[ms], caltables=[f"{self.caltable}/K"])
        text = f"{mark} {(self.tree / ms / 'table.dat').read_text()} {(self.tree / self.caltable / 'K').read_text()}"
        self._directory(names.image_dir(tile), f"{tile}.image.fits", text, record)

    def judge(self, product, name=None, fail=None):
        found = names.product_of(product)
        gate = qa.judge("rms", 1.1, qa.Limits(None, 3.0))
        reason = fail or read_json(self.tree / product / "status.json")["reason"]
        record = qa.record(product, "tile", [gate], rejected=reason, inputs=[product])
        write_json(self.tree / names.verdict(found.date, name or found.name), record)

    def mosaic(self, path, mark="1", reason=None, tiles=None):
        tiles = self.windows[path].tiles if tiles is None else tiles
        images, verdicts = (
            [names.image_dir(tile) for tile in tiles],
            [names.tile_verdict(tile) for tile in tiles],
        )
        entries = []
        for tile, image, verdict in zip(tiles, images, verdicts, strict=True):
            judged = read_json(self.tree / verdict)
            entries.append({"tile": tile, "path": image, "weight": 0.5, "reason": judged["reason"],
                            "status": "ok" if judged["verdict"] == qa.PASS else "rejected"})  # fmt: skip
        text = mark + " ".join(
            (self.tree / entry["path"] / f"{entry['tile']}.image.fits").read_text()
            for entry in entries
            if entry["status"] == "ok"
        )
        name = names.product_of(path).name
        self._directory(
            path, f"{name}.fits", text, status(reason, inputs=[*images, *verdicts], tiles=entries)
        )

    def publish(self, path):
        """As `contimg.publish.versions.publish` does, without the FITS files."""
        found = names.product_of(path)
        if read_json(self.tree / names.verdict(found.date, found.name))["verdict"] != qa.PASS:
            return
        folder = self.tree / names.publication(path)
        number = 1 + max([int(one.name[1:].split(".")[0]) for one in folder.glob("v*")], default=0)
        version = folder / f"v{number}"
        version.mkdir(parents=True)
        pixels = version / "pixels.fits"
        pixels.write_bytes((self.tree / path / f"{found.name}.fits").read_bytes())
        entry = {"name": pixels.name, "bytes": pixels.stat().st_size, "sha256": sha256(pixels)}
        provenance_ = {"tiles": read_json(self.tree / path / "status.json")["tiles"]}
        sources = digests(self.tree / path)
        write_json(
            version / "manifest.json",
            {"files": [entry], "sources": sources, "provenance": provenance_, "product": path},
        )

    def items(self):
        return list(retention.items(self.night(), self.config, NOW))

    def held(self):
        """Why each thing stays, by kind and tile; None for what may go."""
        return {(item.kind, item.tile): item.held for item in self.items()}

    def let_go(self, archive=None, kinds=None):
        night = self.night()
        for item in list(retention.items(night, self.config, NOW)):
            if item.held is None and (kinds is None or item.kind in kinds):
                retention.retire(
                    item, night.tiles[item.tile], self.tree, incoming=self.incoming, archive=archive
                )
