"""What a batch would do: its items, jobs, time and disk; `python -m contimg.service.dry_run`, a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from contimg.core.errors import ContimgError
from contimg.core.products import read_json, write_json
from contimg.jobs.engine import dry_run
from contimg.night.night import plan as plan_night
from contimg.plan.facts import gather
from contimg.service.run import planned


def main(folder: Path) -> int:
    """Read `request.json`, write `answer.json`; 2 and a line on stderr where it cannot be planned."""
    try:
        write_json(folder / "answer.json", _answer(folder, read_json(folder / "request.json")))
    except ContimgError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _answer(folder: Path, request: dict[str, Any]) -> dict[str, Any]:
    config, items = planned(request)
    targets = list(dict.fromkeys(path for item in items for path in item["targets"]))
    told: dict[str, Any] = {"items": items}
    if not targets:
        return told
    configfile = folder / "config.json"
    write_json(configfile, config.model_dump(mode="json"))
    cores = request["cores"] if isinstance(request["cores"], int) else os.cpu_count() or 1
    jobs = dry_run(
        Path(request["snakefile"]).parent,
        configfile,
        targets,
        python=sys.executable,
        folder=folder,
        cores=cores,
    )
    night = plan_night(config, cache=Path(request["config"]["products"]) / "state" / "index")
    facts = gather(config, night, jobs, cores=cores)
    stages = facts["cost"]["stages"]
    return told | {
        "jobs": {rule: stage["to_run"] for rule, stage in stages.items() if stage["to_run"]},
        "core_hours": facts["cost"]["core_hours"],
        "wall_hours": facts["cost"]["wall"][0]["hours"] if facts["cost"]["wall"] else None,
        "writes_bytes": facts["disk"]["writes_bytes"],
        "free_bytes": facts["disk"]["free_bytes"],
        "feasible": facts["feasible"],
        "obstacles": facts["obstacles"],
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
