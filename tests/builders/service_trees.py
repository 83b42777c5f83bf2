"""Small trees for tests of the service: tiny raw files, and a workflow that does in a moment what takes hours."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builders.uvh5_files import write_tile
from contimg.config.load import load
from contimg.core import names
from contimg.service.scheduler import Scheduler
from contimg.service.settings import Settings
from contimg.service.store import Store

START = "2025-10-30T13:00:00"
STEP_DAYS = 3 * 12.884902 / 86400.0
"""Length of a tile of three integrations."""

# A rule of ours by its name. What becomes of a tile says `behaviour.json`: ok, reject, fail, or seconds to take.
SNAKEFILE = """
import sys
workdir: config["products"]

rule image_tile:
    output: directory("images/{date}/{tile}")
    params: robust=config["imaging"]["robust"]
    log: "logs/image_tile/{date}/{tile}.log"
    shell: f"{sys.executable} {workflow.basedir}/make.py {{output}} {{wildcards.tile}} {config['incoming']} {{log}}"
"""
JOB = """
import json, os, sys, time
out, name, folder, log_name = sys.argv[1:]
how = json.load(open(os.path.join(folder, "behaviour.json"))).get(name, "ok")
log = open(log_name, "a", buffering=1)
log.write(f"begin {name}\\n")
open(os.path.join(folder, "starts.txt"), "a").write(name + "\\n")
if isinstance(how, (int, float)):
    time.sleep(how)
    how = "ok"
if how == "fail":
    log.write("RuntimeError: the imager broke\\n")
    sys.exit(1)
reason = None if how == "ok" else "everything is flagged"
if reason:
    log.write(f"rejected: {reason}\\n")
part = out + ".part"
os.makedirs(part, exist_ok=True)
json.dump({"status": "rejected" if reason else "ok", "reason": reason}, open(part + "/status.json", "w"))
os.rename(part, out)
"""
# The same without Snakemake, whose start costs two seconds: targets one by one, events as our plugin writes them.
ENGINE = """
import json, os, subprocess, sys, time
words, targets = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
value = lambda name: words[words.index(name) + 1]
config = json.load(open(value("--configfile")))
os.makedirs(config["products"], exist_ok=True)
os.chdir(config["products"])
events, failed = open(value("--logger-contimg-path"), "a", buffering=1), False
tell = lambda event, **rest: events.write(json.dumps({"event": event, "time": time.time(), **rest}) + "\\n")
tell("workflow_started")
for number, out in enumerate(targets):
    name = os.path.basename(out)
    log = f"logs/image_tile/{name[:10]}/{name}.log"
    if os.path.exists(out):
        continue
    os.makedirs(os.path.dirname(log), exist_ok=True)
    tell("job_started", jobs=[number])
    tell("job_info", job=number, rule="image_tile", output=[out], log=[log])
    make = os.path.join(os.path.dirname(value("--snakefile")), "make.py")
    done = subprocess.run([sys.executable, make, out, name, config["incoming"], log])
    failed |= bool(done.returncode)
    tell("job_error" if done.returncode else "job_finished", job=number)
sys.exit(failed)
"""
PROFILE = "rerun-incomplete: true\nnolock: true\nkeep-going: true\nscheduler: greedy\n"


def make(tmp_path: Path, tiles: int = 2, *, snakemake: bool = False, **config: Any) -> Settings:
    """A tree with some raw tiles, and the settings of a service that runs the quick workflow on it."""
    incoming, products, flow = (tmp_path / name for name in ("incoming", "products", "workflow"))
    for folder in (incoming, products, flow):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(tiles):
        add_tile(incoming, number)
    behave(incoming)
    (flow / "Snakefile").write_text(SNAKEFILE)
    (flow / "make.py").write_text(JOB)
    (flow / "profiles" / "default").mkdir(parents=True, exist_ok=True)
    (flow / "profiles" / "default" / "profile.yaml").write_text(PROFILE)
    service = {"poll_s": 0.1, "cores": 2, "cancel_grace_s": 1.0} | config.pop("service", {})
    values = {"incoming": str(incoming), "products": str(products), "service": service, **config}
    (flow / "engine.py").write_text(ENGINE)
    found = Settings.of(load(values).resolved(tmp_path), snakefile=flow / "Snakefile")
    return found if snakemake else replace(found, engine=(sys.executable, str(flow / "engine.py")))


def add_tile(incoming: Path, number: int, *, n_subbands: int = 1, **how: Any) -> None:
    """Write the raw files of one tile: a single subband of two channels, unless more are asked for."""
    write_tile(
        incoming, names.tile_mjd(START) + number * STEP_DAYS, n_subbands=n_subbands, n_channels=2, **how
    )


def tile(number: int = 0) -> str:
    """Name of one of the tiles."""
    return names.tile_name(names.tile_mjd(START) + number * STEP_DAYS)


def paths(*numbers: int) -> list[str]:
    """Paths of Measurement Sets, as clients write them."""
    return [names.science_ms(tile(number)) for number in numbers]


def behave(incoming: Path, **by_number: Any) -> None:
    """Say what becomes of tiles: `t0="fail"`."""
    told = {tile(int(key.removeprefix("t"))): value for key, value in by_number.items()}
    part = incoming / "behaviour.json.part"
    part.write_text(json.dumps(told))
    part.replace(incoming / "behaviour.json")


def starts(settings: Settings) -> list[str]:
    """Tiles whose jobs began, in order."""
    path = Path(settings.config.incoming) / "starts.txt"
    return path.read_text().split() if path.is_file() else []


def until(condition: Callable[[], Any], seconds: float = 60.0, scheduler: Scheduler | None = None) -> Any:
    """Wait for something, with a scheduler that has no thread of its own turned meanwhile."""
    end = time.monotonic() + seconds
    while True:
        if scheduler is not None:
            scheduler.tick()
        if found := condition():
            return found
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def ended(store: Store, number: int) -> Any:
    """A batch if it has ended."""
    batch = store.get(number)
    return batch if batch.status not in ("pending", "running") else None


def run_record(settings: Settings, batch: int, name: str, number: int = 1) -> Mapping[str, Any] | None:
    """One of the records that a run leaves."""
    path = settings.folder(batch) / f"{name}.{number}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def alive(pid: int) -> bool:
    """Whether a process lives."""
    return not gone(pid)
