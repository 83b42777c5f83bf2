"""Random histories of a night, held against a plain model of what is needed: nothing ever goes that still is."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders.retained_night import ALL, RetainedNight
from contimg.core import names
from contimg.publish.versions import published_versions, withdraw
from contimg.run import retention

CALIBRATED_BY = 2  # the tile that the calibrator crosses


class Model:
    """What everything was made of, as plain values: the truth that files are held against."""

    def __init__(self, windows):
        self.windows = windows  # by path: the numbers of its tiles
        self.raw = [(tile, 0) for tile in range(3)]
        self.set, self.image, self.verdict = [None] * 3, [None] * 3, [None] * 3
        self.cal = None
        self.mosaic = dict.fromkeys(windows)
        self.judged = dict.fromkeys(windows)
        self.versions = {path: [] for path in windows}  # [pixels, tiles, withdrawn, damaged]
        self.imaging = 0  # number of the settings

    def good(self, tile):
        """Whether a tile's image goes into mosaics."""
        return self.verdict[tile]["pass"]

    def fresh(self, tile):
        """What the image of a tile would be made of now."""
        return self.set[tile]["value"], self.cal["value"], self.imaging

    def free(self, tile):
        """Whether all that the tile's data are for was made of them as they are, is good, and is published."""
        ours = (self.set[tile], self.cal, self.image[tile], self.verdict[tile])
        if None in ours or self.set[tile]["raw"] != self.raw[tile]:
            return False
        if self.cal["rejected"] or (tile == CALIBRATED_BY and self.cal["raw"] != self.raw[CALIBRATED_BY]):
            return False
        image = self.image[tile]
        if image["rejected"] or image["of"] != self.fresh(tile):
            return False
        if not self.good(tile) or self.verdict[tile]["of"] != image["value"]:
            return False
        return all(self.settled(path) for path, tiles in self.windows.items() if tile in tiles)

    def settled(self, path):
        mosaic, judged = self.mosaic[path], self.judged[path]
        if mosaic is None or judged is None or mosaic["rejected"]:
            return False
        now = [
            (self.image[tile] and self.image[tile]["value"], self.verdict[tile])
            for tile in self.windows[path]
        ]
        if mosaic["of"] != now or judged["of"] != mosaic["value"] or not judged["pass"]:
            return False
        return any(
            version["pixels"] == mosaic["pixels"] and version["tiles"] == mosaic["tiles"]
            and not version["withdrawn"] and not version["damaged"]
            for version in self.versions[path]
        )  # fmt: skip


class History:
    """The same steps in files and in the model."""

    def __init__(self, root):
        self.night = RetainedNight(root)
        self.windows = {
            path: tuple(self.night.names.index(tile) for tile in window.tiles)
            for path, window in self.night.windows.items()
        }
        self.paths = sorted(self.windows)
        self.model = Model(self.windows)
        self.everything()

    def everything(self):
        for tile in range(3):
            self.convert(tile, "1")
        self.calibrate(0, "1")
        for tile in range(3):
            self.image(tile, "1")
            self.judge(tile)
        for number in range(len(self.paths)):
            self.mosaic(number, "1")
            self.judge_mosaic(number)
            self.publish(number)

    def there(self, tile):
        return all(Path(path).exists() for path in self.night.files(self.night.names[tile]))

    def has_set(self, tile):
        return (self.night.tree / names.science_ms(self.night.names[tile]) / "table.dat").is_file()

    def replace(self, tile, mark):
        if self.there(tile):
            for path in self.night.files(self.night.names[tile]):
                Path(path).write_text(f"{tile} {mark} repaired {path[-9:]}")
            self.model.raw[tile] = (tile, f"repaired {mark}")

    def convert(self, tile, mark):
        if self.there(tile):
            self.night.convert(self.night.names[tile], mark)
            self.model.set[tile] = {"raw": self.model.raw[tile], "value": (mark, self.model.raw[tile])}

    def calibrate(self, _, mark, *, rejected=False):
        if self.there(CALIBRATED_BY):
            self.night.calibrate(mark, reason="no solution" if rejected else None)
            raw = self.model.raw[CALIBRATED_BY]
            self.model.cal = {"raw": raw, "value": (mark, raw), "rejected": rejected}

    def fail_calibration(self, number, mark):
        self.calibrate(number, mark, rejected=True)

    def image(self, tile, mark, *, rejected=False):
        if self.has_set(tile) and not (self.model.cal["rejected"] and not rejected):
            self.night.image(self.night.names[tile], mark, reason="no solution" if rejected else None)
            of = self.model.fresh(tile)
            self.model.image[tile] = {"of": of, "value": (mark, *of[:2]), "rejected": rejected}

    def reject(self, tile, mark):
        self.image(tile, mark, rejected=True)

    def judge(self, tile, _="", *, fail=False):
        self.night.judge(
            names.image_dir(self.night.names[tile]), self.night.names[tile], "rms" if fail else None
        )
        image = self.model.image[tile]
        self.model.verdict[tile] = {
            "of": image["value"], "pass": not fail and not image["rejected"], "why": (fail, image["rejected"])
        }  # fmt: skip

    def fail(self, tile, _):
        self.judge(tile, fail=True)

    def mosaic(self, number, mark):
        path = self.paths[number % len(self.paths)]
        self.night.mosaic(path, mark)
        tiles = [tile for tile in self.windows[path] if self.model.good(tile)]
        pixels = (mark, *(self.model.image[tile]["value"] for tile in tiles))
        of = [(self.model.image[tile]["value"], self.model.verdict[tile]) for tile in self.windows[path]]
        self.model.mosaic[path] = {
            "of": of,
            "value": pixels,
            "pixels": pixels,
            "tiles": tiles,
            "rejected": False,
        }

    def judge_mosaic(self, number, _="", *, fail=False):
        path = self.paths[number % len(self.paths)]
        self.night.judge(path, fail="rms" if fail else None)
        self.model.judged[path] = {"of": self.model.mosaic[path]["value"], "pass": not fail}

    def fail_mosaic(self, number, _):
        self.judge_mosaic(number, fail=True)

    def publish(self, number, _=""):
        path = self.paths[number % len(self.paths)]
        self.night.publish(path)
        if self.model.judged[path]["pass"]:
            mosaic = self.model.mosaic[path]
            version = {
                "pixels": mosaic["pixels"],
                "tiles": mosaic["tiles"],
                "withdrawn": False,
                "damaged": False,
            }
            self.model.versions[path].append(version)

    def _newest(self, number):
        path = self.paths[number % len(self.paths)]
        folder = self.night.tree / names.publication(path)
        kept = [version for version in published_versions(folder) if version.withdrawn is None]
        return path, folder, kept[-1] if kept else None

    def withdraw(self, number, _):
        path, folder, version = self._newest(number)
        if version is not None:
            withdraw(folder, version.number, "wrong", tree=self.night.tree)
            self.model.versions[path][version.number - 1]["withdrawn"] = True

    def damage(self, number, mark):
        path, _, version = self._newest(number)
        if version is not None:
            (version.path / "pixels.fits").write_text(f"damaged {mark}")
            self.model.versions[path][version.number - 1]["damaged"] = True

    def settings(self, number, _):
        self.model.imaging = number
        self.night.configure(retention=ALL, imaging=({}, {"robust": 0.3}, {"robust": 0.0})[number])

    def again(self, *_):
        """What Snakemake does in a run: all that can be made is made of what is there."""
        if all(map(self.there, range(3))):
            self.everything()

    def held(self):
        return self.night.held()

    def agree(self):
        for (kind, name), why in self.held().items():
            tile = self.night.names.index(name)
            if kind in ("raw", "science"):
                assert (why is None) == self.model.free(tile), (kind, tile, why)

    def retire(self, number, mark, stop=None):
        """Let go what may, perhaps killed at a step; needed and archived files are whole."""
        free = [self.model.free(tile) for tile in range(3)]
        raw = {
            path: Path(path).read_bytes()
            for tile in self.night.all_tiles
            for path in tile.files
            if Path(path).exists()
        }
        archive = self.night.archive if number else None
        retention.finish(self.night.tree)
        with killed_at(stop) if stop is not None else _never():
            self.night.let_go(archive, kinds={"raw"} if mark == "1" else {"raw", "science"})
        for tile, one in enumerate(self.night.all_tiles):
            for path in map(Path, one.files):
                copy = self.night.archive / path.name
                if str(path) not in raw:
                    continue
                if not free[tile]:
                    assert path.read_bytes() == raw[str(path)]
                elif not path.exists():
                    assert archive is None or copy.read_bytes() == raw[str(path)]
                else:
                    assert path.read_bytes() == raw[str(path)]

    def kill(self, number, mark):
        self.retire(number, mark, stop=3 * number + int(mark))


class Killed(BaseException):
    """A kill -9, as near as one process can come to it."""


class killed_at:  # noqa: N801  reads as what it does
    """The process dies at the n-th change of the file system that retention makes."""

    def __init__(self, number):
        self.left, self.patch = number, pytest.MonkeyPatch()

    def __enter__(self):
        def counted(real):
            def step(*args, **options):
                self.left -= 1
                if self.left < 0:
                    raise Killed
                return real(*args, **options)

            return step

        self.patch.setattr(Path, "unlink", counted(Path.unlink))
        for name in ("rename", "link"):
            self.patch.setattr(os, name, counted(getattr(os, name)))
        self.patch.setattr(shutil, "copy2", counted(shutil.copy2))
        self.patch.setattr(retention, "write_json", counted(retention.write_json))

    def __exit__(self, kind, *_):
        self.patch.undo()
        return kind is Killed


class _never:  # noqa: N801
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return False


STEPS = (
    "replace", "convert", "calibrate", "fail_calibration", "image", "reject", "judge", "fail", "mosaic", "judge_mosaic",
    "fail_mosaic", "publish", "withdraw", "damage", "settings", "again", "again", "retire", "kill",
)  # fmt: skip
step = st.tuples(st.sampled_from(STEPS), st.integers(0, 2), st.sampled_from(["1", "2"]))


def each_step_once(test):
    """Every kind of step is met for certain, before what is drawn; after it, what lets go and what makes again."""
    for number, name in enumerate(sorted(set(STEPS))):
        test = example(
            [
                (name, number % 3, "2"),
                ("publish", 0, ""),
                ("retire", 1, "2"),
                ("again", 0, "1"),
                (name, 1, "1"),
            ]
        )(test)
    return test


@each_step_once
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(st.lists(step, min_size=4, max_size=12))
def test_whatever_happened_what_may_go_is_what_a_plain_model_says(steps):
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as root:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setenv("CONTIMG_CONFIGURATION", "")
        try:
            history = History(Path(root))
            history.agree()
            for name, number, mark in steps:
                getattr(history, name)(number, mark)
                history.agree()
        finally:
            os.chdir(here)
