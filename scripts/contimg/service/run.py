"""The process of a run: plans the batch, starts Snakemake, waits, and records how it ended.

    python -m contimg.service.run FOLDER NUMBER

It leads a process group of its own and does not care whether the service lives. In FOLDER it finds `request.json`
and leaves `process.N.json` (who it is), `items.N.json` (what each item means), `events.N.jsonl` (Snakemake's events)
and `exit.N.json` (how it ended). A run without the last, of which no process lives, was killed.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contimg.core.errors import ContimgError
from contimg.core.products import building, read_json, write_json
from contimg.service.process import identity

LOCK = "run.lock"


def main(folder: Path, number: int) -> int:
    """Run a batch; returns the exit status of Snakemake, 2 if it could not be planned."""
    lock = (folder / LOCK).open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 3  # another run of this batch lives
    write_json(folder / f"process.{number}.json", identity())
    # A handler, not SIG_IGN: the group is interrupted as a whole, Snakemake must hear it, this must outlive it.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: None)
    request = read_json(folder / "request.json")
    error, status = None, 2
    try:
        status = _carry_out(folder, number, request)
    except ContimgError as problem:
        error = str(problem)
        print(f"contimg: error: {error}", flush=True)  # noqa: T201  this is the run's log
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        raise
    finally:
        write_json(
            folder / f"exit.{number}.json", {"returncode": status, "error": error, "ended": time.time()}
        )
    return status


def _carry_out(folder: Path, number: int, request: Mapping[str, Any]) -> int:
    if request["spec"]["extra"].get("wait"):
        return _unattended(folder, number, request)
    config, items = planned(request)
    if request.get("again"):
        forgive(config.products, [path for item in items for path in item["targets"]])
    _begin_again(request, config.products, items)
    write_json(folder / f"items.{number}.json", {"products": str(config.products), "items": items})
    targets = list(dict.fromkeys(path for item in items for path in item["targets"]))
    if not targets:
        return 0
    configfile = folder / f"config.{number}.json"
    write_json(configfile, config.model_dump(mode="json"))
    command = [*request["engine"], "--snakefile", request["snakefile"]]
    command += ["--configfile", str(configfile), "--quiet", "rules"]
    command += ["--logger", "contimg", "--logger-contimg-path", str(folder / f"events.{number}.jsonl")]
    command += request["arguments"]
    command += ["--", *targets]
    return wait_for(command, Path(request["snakefile"]).parent)


def wait_for(command: list[str], folder: Path) -> int:
    """Run a command in this process group, with default signals; its exit status, negative for a signal."""
    sys.stdout.flush()
    child = subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    return child.wait()


def planned(request: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]]]:
    """The configuration of a batch, with absolute paths, and its items in plain values; its branch is made ready."""
    from contimg.night import branches
    from contimg.night.night import plan
    from contimg.service import planning

    base, spec = request["config"], dict(request["spec"])
    if "calibrator" in spec["selection"] and "transit_date" not in spec["selection"]:
        spec["selection"] = spec["selection"] | planning.transit_selection(base, spec)
    spec["selection"] = spec["selection"] | planning.spanned(spec)
    tree = Path(request["tree"])
    tree.mkdir(parents=True, exist_ok=True)
    spec["changed"] = spec["changed"] | _further_places(spec, tree)
    config = planning.configuration(base, spec, tree).resolved(Path.cwd())
    night = plan(config, cache=Path(base["products"]) / "state" / "index")
    if request["branch"] is not None:
        count = branches.link(Path(base["products"]), tree, night, spec["changed"])
        print(f"contimg: branch {tree}: {count} products of the night are linked", flush=True)  # noqa: T201
    wanted = {
        **spec,
        "wanted": {name: spec["wanted"][name] for name in request["items"] if name in spec["wanted"]},
    }
    return config, [item.plain() for item in planning.items_of(wanted, night, config)]


def _further_places(spec: Mapping[str, Any], tree: Path) -> dict[str, Any]:
    """Positions that photometry was asked for, as a list of the user's own in the batch's branch."""
    places = spec["extra"].get("coordinates")
    if not places:
        return {}
    path = tree / "photometry" / "coordinates.csv"
    text = "ra_deg,dec_deg\n" + "".join(f"{ra!r},{dec!r}\n" for ra, dec in places)
    if not path.is_file() or path.read_text() != text:  # an older file makes nothing anew
        with building(path) as part:
            part.write_text(text)
    return {"photometry": {**spec["changed"].get("photometry", {}), "sources": str(path)}}


def forgive(products: Path, targets: list[str]) -> None:
    """Give targets that ended with an error, or were killed too often, another chance."""
    from contimg.core.products import remove
    from contimg.jobs import frame

    for target in targets:
        frame.forget(target, products)
        for sidecar in (products / target / "status.json", (products / target).with_suffix(".json")):
            if sidecar.is_file() and str(read_json(sidecar).get("reason") or "").startswith(
                frame.ERROR_PREFIX
            ):
                remove(products / target)
                remove(sidecar)


def _begin_again(request: Mapping[str, Any], products: Path, items: list[dict[str, Any]]) -> None:
    """In a branch, and only there, products that were asked for anew are removed first, once."""
    from contimg.core.products import remove

    if not request["spec"]["extra"].get("again") or request["branch"] is None or request["number"] > 1:
        return
    for item in items:
        for target in item["targets"]:
            if not (products / target).is_symlink():
                remove(products / target)


def _unattended(folder: Path, number: int, request: Mapping[str, Any]) -> int:
    """`contimg unattended`: wait for the next transit, make and publish its mosaic."""
    spec = request["spec"]
    configfile = folder / f"config.{number}.json"
    write_json(
        configfile, {**request["config"], "calibrator": None, "transit_date": None, "window_minutes": None}
    )
    command = [
        sys.executable,
        "-m",
        "contimg.cli.main",
        "unattended",
        "--calibrator",
        spec["selection"]["calibrator"],
    ]
    if spec["selection"].get("window_minutes") is not None:
        command += ["--timespan-minutes", str(spec["selection"]["window_minutes"])]
    command += ["--cores", str(request["cores"]), "--configfile", str(configfile)]
    (name,) = request["items"]
    item = {"name": name, "targets": [], "sidecars": [], "log": None, "error": None, "any_good": False}
    write_json(folder / f"items.{number}.json", {"products": request["tree"], "items": [item]})
    return wait_for(command, Path(request["snakefile"]).parent)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
