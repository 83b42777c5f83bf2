"""The service under load, on the tree of a year: 100,000 tiles, 10,000 sources, 2,000 batches of 20 items.

    python benchmarks/bench_service.py [--seconds 40] [--tree DIR] [--out FILE]

It makes the tree (kept if `--tree` names a directory, and used again), starts `contimg serve` on it with a token, and
measures: CPU by kind of request; requests at random times, 200 a second, of the mix below; clients that wait for their
answers; 500 listeners to one log, alone and beside the 200 requests a second. CPU and memory are the server process's
own, from /proc. The load comes from one more process, which takes most of the other core of a machine with two.
On two idle cores it takes some four minutes, two of them for the tree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from benchlib import service_load, service_tree

from contimg.core import names
from contimg.jobs import treelock
from contimg.service.tokens import Tokens

MIX = {
    "batch": 22, "batches": 12, "status": 8, "health": 5, "job": 5, "products": 8, "mosaics": 4, "mosaic": 3,
    "caltables": 5, "qa": 4, "published": 2, "cone": 6, "lightcurve": 7, "variability": 3, "candidates": 2,
    "metrics": 1, "cutout": 1, "submit": 2,
}  # fmt: skip
"""Parts of a hundred requests. `submit` is a new batch of one tile, which waits: the tree is locked."""
ROOT = Path(__file__).resolve().parents[1]


class Mixer:
    """Requests of the mix, the same for the same seed."""

    def __init__(self, tree: Path, token: str, n_tiles: int, n_sources: int, n_batches: int) -> None:
        self._token, self._rng = token, np.random.default_rng(18)
        self._tiles, self._sources, self._batches = n_tiles, n_sources, n_batches
        self._key = 0

    def _any(self, most: int) -> int:
        return int(self._rng.integers(most))

    def _tile(self) -> str:
        return service_tree.tile_of(self._any(self._tiles), self._tiles)

    def path(self, kind: str) -> str:
        """An address of a kind, its parts drawn at random."""
        night = self._any(service_tree.NIGHTS)
        date, source = service_tree.date_of(night), service_tree.source_name(self._any(self._sources))
        mjd = service_tree.FIRST_MJD + night
        batch = 1 + 21 * self._any(self._batches)
        ra, dec = self._rng.uniform(90.0, 150.0), self._rng.uniform(53.0, 57.0)
        paths: dict[str, Callable[[], str]] = {
            "batch": lambda: f"/api/batch/{batch}",
            "batches": lambda: f"/api/batch?limit=20&offset={self._any(100)}",
            "status": lambda: "/api/status",
            "health": lambda: "/api/health",
            "job": lambda: f"/api/jobs/id/{batch + 1}",
            "products": lambda: f"/api/products?kind=image&date={date}&limit=100",
            "mosaics": lambda: "/api/mosaics?limit=100",
            "mosaic": lambda: f"/api/{service_tree.mosaic_of(night)}",
            "caltables": lambda: f"/api/caltables?mjd={mjd}&dec_deg=55&hours=12",
            "qa": lambda: f"/api/qa?date={date}&verdict=fail",
            "published": lambda: f"/api/published?date={date}",
            "cone": lambda: f"/api/sources?ra={ra:.4f}&dec={dec:.4f}&radius_deg=1",
            "lightcurve": lambda: f"/api/sources/{source}/lightcurve",
            "variability": lambda: f"/api/sources/{source}/variability",
            "candidates": lambda: "/api/ese/candidates?limit=50&min_sigma=5",
            "metrics": lambda: "/metrics",
            "cutout": lambda: f"/api/{service_tree.mosaic_of(300)}/cutout?ra=128.7&dec=55.5",
        }
        return paths[kind]()

    def make(self, count: int) -> list[service_load.Request]:
        """So many requests."""
        return self.of(self._rng.choice(list(MIX), count, p=np.array(list(MIX.values())) / sum(MIX.values())))

    def of(self, kinds: Iterable[str]) -> list[service_load.Request]:
        """A request of each of some kinds."""
        found = []
        for kind in kinds:
            if kind == "submit":
                self._key += 1
                body = {"ms_paths": [names.science_ms(self._tile())]}
                key = {"Idempotency-Key": f"bench-{self._key}"}
                found.append(
                    (kind, service_load.request("/api/batch/image", self._token, body=body, headers=key))
                )
            else:
                found.append((str(kind), service_load.request(self.path(kind), self._token)))
        return found


class Server:
    """`contimg serve` on a tree, and what it uses."""

    def __init__(self, tree: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        incoming = tree / "incoming"
        incoming.mkdir(exist_ok=True)
        limits = "requests_per_s: 100000, downloads_per_min: 100000, max_pending: 100000"
        options = f"service={{port: {self.port}, {limits}}}"
        words = [sys.executable, "-m", "contimg.cli.main", "serve", "--config", f"incoming={incoming}"]
        env = {**os.environ, "PYTHONPATH": str(ROOT / "scripts")}
        began = time.perf_counter()
        self.process = subprocess.Popen([*words, f"products={tree}", options], env=env, cwd=ROOT)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("contimg serve ended") from None
                time.sleep(0.02)
        self.started_s = time.perf_counter() - began
        self.started_cpu_s = self.cpu_s()

    def cpu_s(self) -> float:
        """CPU that it has used, user and system, s."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_mb(self) -> float:
        """Most memory that it has had, MB (1e6 bytes)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        kb = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return round(kb * 1024 / 1e6, 1)

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(30)


def measured(server: Server, n: int, run: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Run something; what the server used for it."""
    before, began = server.cpu_s(), time.perf_counter()
    told = run()
    used = server.cpu_s() - before
    return told, {
        "server_cpu_ms_per_request": round(1e3 * used / max(n, 1), 2),
        "server_cpu_fraction_of_a_core": round(used / (time.perf_counter() - began), 2),
        "rss_peak_mb": server.peak_mb(),
    }


def cpu_of(server: Server, some: list[service_load.Request]) -> float:
    """CPU of the server for a request of a kind, ms, asked by four clients."""
    used = measured(server, len(some), lambda: asyncio.run(service_load.closed_loop(server.port, some, 4)))[1]
    return used["server_cpu_ms_per_request"]


def measure(tree: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All measurements."""
    tokens = Tokens(tree / "state" / "service")
    name = f"bench-{time.time_ns()}"
    token = tokens.add(name, "run")
    server = Server(tree)
    mixer = Mixer(tree, token, args.tiles, args.sources, args.batches)
    found: dict[str, Any] = {
        "start_s": round(server.started_s, 2),
        "start_cpu_s": round(server.started_cpu_s, 2),
    }
    try:
        warm = asyncio.run(service_load.closed_loop(server.port, mixer.make(300), 4))[0]
        print("warm", json.dumps(warm.told()["not_2xx"]), flush=True)
        time.sleep(10.0)  # until it has imported and read what the first questions need
        found["server_cpu_ms_by_kind"] = {kind: cpu_of(server, mixer.of([kind] * 200)) for kind in MIX}
        print("CPU by kind", json.dumps(found["server_cpu_ms_by_kind"]), flush=True)
        some = mixer.make(round(args.rate * args.seconds))
        told, used = measured(
            server, len(some), lambda: asyncio.run(service_load.open_loop(server.port, some, args.rate))
        )
        found["open_loop"] = {"per_s": args.rate, **told.told(), **used}
        print("open loop", json.dumps(found["open_loop"]), flush=True)
        some = mixer.make(2000)
        (told, rate), used = measured(
            server, len(some), lambda: asyncio.run(service_load.closed_loop(server.port, some, 16))
        )
        found["closed_loop"] = {"clients": 16, "per_s": round(rate, 1), **told.told(), **used}
        print("closed loop", json.dumps(found["closed_loop"]), flush=True)
        for label, beside in (("listeners", 0.0), ("listeners_beside_requests", args.rate)):
            found[label] = listeners(server, mixer, tree, token, args, beside)
            print(label, json.dumps(found[label]), flush=True)
    finally:
        server.close()
        tokens.revoke(name)
    return found


def listeners(
    server: Server, mixer: Mixer, tree: Path, token: str, args: argparse.Namespace, beside: float
) -> dict[str, Any]:
    """Many who listen to the log of one batch that waits."""
    body = {"ms_paths": [names.science_ms(service_tree.tile_of(1 if beside else 0, args.tiles))]}
    import urllib.request

    asked = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/batch/image", json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(asked) as answer:
        number = json.load(answer)["id"]
    log = tree / "state" / "service" / "batches" / str(number) / "output.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    lines, every_s = 30, 0.5
    some = mixer.make(round(beside * lines * every_s))
    more: dict[str, Any] = {}

    async def requests() -> None:
        more.update((await service_load.open_loop(server.port, some, beside)).told())

    def run() -> Any:
        return asyncio.run(
            service_load.listen(
                server.port, token, f"/api/batch/{number}/logs", log, listeners=args.listeners, lines=lines,
                every_s=every_s, beside=requests if beside else None,
            )
        )  # fmt: skip

    (heard, missed), used = measured(server, len(some) or lines * args.listeners, run)
    told = {"listeners": args.listeners, "delivery": service_load.quantiles(heard), "not_heard": missed}
    more.pop("by_kind", None)
    return {**told, **({"requests": {"per_s": beside, **more}} if beside else {}), **used}


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tree", type=Path, help="where the tree is, or is made and kept")
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second of the open loop")
    parser.add_argument("--seconds", type=float, default=40.0, help="how long the open loop lasts")
    parser.add_argument("--listeners", type=int, default=500)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "service" / "year.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_service") as scratch:
        tree = (args.tree or Path(scratch, "tree")).resolve()
        before, began = time.process_time(), time.perf_counter()
        if not (tree / "state" / "service" / "jobs.sqlite3").is_file():
            print("tree", service_tree.make(tree, args.tiles, args.sources, args.batches), flush=True)
        made = {"wall_s": time.perf_counter() - began, "cpu_s": time.process_time() - before}
        with treelock.held(tree / "state" / "lock"):  # batches wait: what is measured is the service
            found = measure(tree, args)
    found |= {
        "tree": {key: round(value, 1) for key, value in made.items()} | {
            "tiles": args.tiles, "sources": args.sources, "batches": args.batches},
        "mix": MIX, "cores": os.cpu_count(), "load_average": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(found, indent=1) + "\n")
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
