"""A batch from a tile's raw files to its mosaic through `contimg serve`; server and run are killed on the way.

Then a batch with another setting: in a branch, beside the night's products, and a path that is nothing fails alone.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from contimg.client import Client, ServiceError
from contimg.core import names
from contimg.core.products import read_json, remove

from .conftest import CLONE, Made, expect_same_pixels, linked
from .test_killed import at_work

PATIENCE_S = 900.0  # a machine may be busy with other work


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """`contimg serve` on a products tree, as a process that can be killed and started again."""

    def __init__(self, night: Made, products: Path, log: Path) -> None:
        self.products, self._log, self.port = products, log, free_port()
        self.process: subprocess.Popen[bytes] | None = None
        service = f"service={{port: {self.port}, cores: 2, poll_s: 0.2}}"
        self._words = [sys.executable, "-m", "contimg.cli.main", "serve", "--config", *night.settings]
        self._words += [f"incoming={night.incoming}", f"products={products}", service]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(CLONE / "scripts"), "PYTHONWARNINGS": "ignore"}
        with self._log.open("ab") as sink:
            self.process = subprocess.Popen(
                self._words, cwd=CLONE, env=env, stdout=sink, stderr=sink, start_new_session=True
            )
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self._log.read_text()[-3000:]
        try:
            with Client(self.url) as client:
                return client.health().status in ("healthy", "degraded")
        except ServiceError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def until(condition, seconds=PATIENCE_S):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)
    return found


@contextmanager
def serving(night: Made, products: Path, log: Path):
    server = Server(night, products, log)
    server.start()
    try:
        yield server
    finally:
        server.kill()
        for path in products.glob("state/service/batches/*/process.*.json"):
            with suppress(ProcessLookupError):
                os.killpg(read_json(path)["pid"], signal.SIGKILL)


def without(night: Made, tree: Path, tile: str) -> Path:
    """The night's products, but for what was made of one tile's raw files, and the mosaics."""
    products = linked(night.products, tree)
    made = [
        names.science_ms(tile),
        names.science_sidecar(tile),
        names.image_dir(tile),
        names.tile_verdict(tile),
    ]
    for path in (*made, "mosaics", "published", "state/published", "state/registry"):
        remove(products / path)
    for path in products.glob("qa/*/*.json"):
        if names.product_of(read_json(path)["product"]).kind == "mosaic":
            remove(path)
    return products


@pytest.fixture(scope="module")
def story(clean, tmp_path_factory):
    """What became of a mosaic that lacked a tile: its server was killed while that was converted, its run later."""
    where = tmp_path_factory.mktemp("served")
    tiles = [tile.name for tile in clean.truth.tiles]
    lacking = tiles[2]
    products = without(clean, where / "products", lacking)
    with serving(clean, products, where / "serve.log") as server, Client(server.url) as client:
        body = {"start": tiles[0][:10], "end": "2025-10-31"}
        batch = client.submit("mosaic", body, key="once")
        assert client.submit("mosaic", body, key="once").id == batch.id
        heard: list[str] = []
        listener = threading.Thread(target=lambda: heard.extend(client.logs(batch.id)))
        listener.start()
        folder = products / "state" / "service" / "batches" / str(batch.id)

        until(lambda: at_work("convert_tile", products))
        server.kill()
        first = read_json(folder / "process.1.json")["pid"]
        lives = Path(f"/proc/{first}").exists()
        server.start()
        states = [client.batch(batch.id).status]

        until(lambda: at_work("image_tile", products))
        states.append(client.batch(batch.id).items[0].status)
        os.killpg(first, signal.SIGKILL)
        ended = client.wait(batch.id, poll_s=0.2, timeout_s=PATIENCE_S)
        listener.join(60)
        yield {
            "client": client, "products": products, "folder": folder, "batch": ended, "lives": lives, "states": states,
            "heard": "".join(heard), "tile": lacking,
        }  # fmt: skip


def test_a_run_outlives_its_server_and_is_resumed_when_it_is_killed_itself(story):
    assert story["lives"]
    assert story["states"][0] == "running"
    assert story["states"][1] in ("pending", "running")
    batch = story["batch"]
    assert (batch.status, batch.completed_items, batch.failed_items) == ("done", 1, 0)
    assert (story["folder"] / "exit.2.json").is_file()
    assert not (story["folder"] / "exit.1.json").exists()


def test_the_item_tells_its_products_and_they_are_those_of_a_run_without_a_service(story, clean):
    (item,) = story["batch"].items
    assert item.error is None
    assert item.products
    for path in item.products:
        assert read_json(story["products"] / path / "status.json")["status"] == "ok"
    assert story["client"].download(f"{item.products[0]}/status.json")
    assert list(story["products"].glob("**/*.part.*")) == []
    expect_same_pixels(story["products"], clean.products)


def test_only_what_was_lacking_was_made_and_each_once(story):
    finished: Counter[str] = Counter()
    rules = set()
    for path in sorted(story["folder"].glob("events.*.jsonl")):
        jobs = {}
        for event in map(json.loads, path.read_text().splitlines()):
            if event["event"] == "job_info":
                jobs[event["job"]] = event
            if event["event"] == "job_finished" and event["job"] in jobs:
                finished.update(jobs[event["job"]]["output"])
                rules.add(jobs[event["job"]]["rule"])
    assert finished[names.science_ms(story["tile"])] == 1
    assert finished[names.image_dir(story["tile"])] == 1
    assert set(finished.values()) == {1}
    assert rules >= {"convert_tile", "image_tile", "mosaic_window"}
    assert "calibrate_transit" not in rules


def test_a_listener_hears_the_whole_log_across_both_deaths(story):
    assert story["heard"] == (story["folder"] / "output.log").read_text()
    assert "convert" in story["heard"]


def test_another_setting_has_its_own_branch_and_what_is_nothing_fails_alone(story):
    client, products, tile = story["client"], story["products"], story["tile"]
    night = products / names.image_dir(tile)
    before = {path: path.stat().st_mtime_ns for path in night.rglob("*")}
    paths = [f"science/{tile[:10]}/{tile}.ms", "2025-11-01T00:00:00.ms"]
    dry = client.submit("image", {"ms_paths": paths, "parameters": {"robust": 1.5}}, dry_run=True)
    assert dry.jobs == {"image_tile": 1}
    batch = client.wait(client.image(paths, robust=1.5).id, poll_s=0.2, timeout_s=PATIENCE_S)
    assert batch.status == "partial"
    assert [item.status for item in batch.items] == ["done", "failed"]
    assert "no complete tile" in batch.items[1].error
    branch = products / batch.branch
    assert read_json(branch / names.image_dir(tile) / "status.json")["parameters"]["plan"]["robust"] == 1.5
    assert (branch / names.science_ms(tile)).readlink() == products / names.science_ms(tile)
    assert {path: path.stat().st_mtime_ns for path in night.rglob("*")} == before
