"""`contimg plan`: what a run would make of a range, what it would cost, and whether it fits.

The tiles, transits and mosaics come from the index, and so do the jobs (`contimg.plan.todo`), or from Snakemake's own
dry run; the costs come from the benchmarks of past runs. The plan is a table of facts (`plan/{start}_{end}.json`) and a
page that shows them (`.html`, self-contained).
"""

from __future__ import annotations

import difflib
import itertools
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contimg.config.model import Config
from contimg.core import names
from contimg.core.errors import InputError
from contimg.core.kinds import STATUS
from contimg.core.products import read_json, write_json
from contimg.core.provenance import REPOSITORY, versions
from contimg.core.text import count_of, duration
from contimg.image import programs
from contimg.image.options import load_tiers, resolve_imaging
from contimg.jobs.disk import free_bytes
from contimg.jobs.engine import Job, dry_run
from contimg.night import advice
from contimg.night.night import Night
from contimg.plan import again
from contimg.plan import costs as plan_costs
from contimg.plan.graph import TARGETS
from contimg.plan.machines import machines
from contimg.plan.schedule import Machine, wall_seconds
from contimg.plan.todo import planned

NOT_MADE = "not made"
ASKED = "snakemake -n"
COUNTED = "index, products and Snakemake's records"


def range_name(config: Config, night: Night) -> str:
    """Name of a plan's files: `{start}_{end}` of the range, without the midnights; of its tiles where it is open."""
    ends = [config.start, config.end]
    if config.calibrator is not None:
        return f"{config.calibrator}_{config.transit_date}"
    if night.selected:
        ends[0] = ends[0] or night.selected[0]
        last = night.tiles[night.selected[-1]]
        ends[1] = ends[1] or names.tile_name(last.end_mjd)
    return "_".join((end or "open").removesuffix("Z").removesuffix("T00:00:00") for end in ends)


def state_of(product: str, jobs: Mapping[str, Job], products: Path) -> str:
    """What a product is: `to make`, `to make again`, `ok`, `rejected`, or `not made`."""
    job = jobs.get(product)
    sidecar = products / (
        product.removesuffix(".ms") + ".json" if product.endswith(".ms") else f"{product}/{STATUS}"
    )
    there = sidecar.is_file()
    if job is not None and job.todo:
        return "to make again" if there else "to make"
    if there:
        return str(read_json(sidecar)["status"])
    return NOT_MADE


def tile_rows(night: Night, jobs: Mapping[str, Job], products: Path) -> list[dict[str, Any]]:
    """One row for each tile that is needed, in order of time."""
    chosen = set(night.selected)
    rows = []
    for name in sorted(night.candidates):
        tile = night.tiles[name]
        rows.append(
            {
                "tile": name,
                "in_range": name in chosen,
                "minutes": round(tile.n_times * tile.integration_s / 60.0, 3),
                "strip": names.strip_name(tile.dec_deg),
                "ra_deg": round(tile.ra_icrs_deg, 4),
                "dec_deg": round(tile.dec_icrs_deg, 4),
                "subbands": len(tile.files),
                "of_subbands": len(tile.slots),
                "bytes": tile.bytes,
                "notes": list(tile.notes),
                "caltables": list(night.candidates[name]),
                "nearest": night.nearest(name),
                "measurement_set": state_of(names.science_ms(name), jobs, products),
                "image": state_of(names.image_dir(name), jobs, products),
            }
        )
    return rows


def strip_changes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Where the pointing declination changes: the first tile of each new strip."""
    changes = []
    for before, after in itertools.pairwise(rows):
        if before["strip"] != after["strip"]:
            changes.append({"tile": after["tile"], "from": before["strip"], "to": after["strip"]})
    return changes


def transit_rows(night: Night, jobs: Mapping[str, Job], products: Path) -> list[dict[str, Any]]:
    """One row for each transit that a tile of the plan may use, in order of time."""
    users: dict[str, int] = defaultdict(int)
    for tables in night.candidates.values():
        for path in tables:
            users[path] += 1
    rows = []
    for path in sorted(users, key=lambda path: night.transits[path].mjd):
        transit = night.transits[path]
        rows.append(
            {
                "calibrator": transit.calibrator.name,
                "utc": names.utc(transit.mjd).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "tile": transit.tile,
                "strip": names.strip_name(night.tiles[transit.tile].dec_deg),
                "dec_offset_deg": round(transit.dec_offset_deg, 4),
                "beam": round(transit.beam, 4),
                "apparent_jy": round(transit.apparent_jy, 4),
                "tables": path,
                "tiles": users[path],
                "state": state_of(path, jobs, products),
            }
        )
    return rows


def mosaic_rows(night: Night, jobs: Mapping[str, Job], products: Path) -> list[dict[str, Any]]:
    """One row for each mosaic of the run, in order of time."""
    return [
        {
            "mosaic": path,
            "name": window.name,
            "utc": names.utc(window.mid_mjd).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "strip": names.strip_name(window.dec_deg),
            "tiles": list(window.tiles),
            "state": state_of(path, jobs, products),
        }
        for path, window in sorted(night.windows.items(), key=lambda item: item[1].mid_mjd)
    ]


def cost_rows(
    jobs: Sequence[Job], night: Night, products: Path, among: Sequence[Machine]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the run costs: jobs, core-hours and wall times; and what it reads and writes.

    Returns
    -------
    cost, disk : dict
        For the plan's JSON. Times in hours, sizes in bytes.
    """
    tile_bytes = {name: tile.bytes for name, tile in night.tiles.items()}
    samples = plan_costs.read_benchmarks(products, jobs, tile_bytes)
    rules = sorted({job.rule for job in jobs})
    each = plan_costs.unit_costs(samples, rules)
    written = plan_costs.bytes_per_unit(products, jobs, tile_bytes)
    made = {
        path: written[job.rule][0] * plan_costs.job_units(job.product, len(job.input), tile_bytes)
        for job in jobs
        for path in job.output[:1]
    }
    raw = {path: slot_bytes for tile in night.tiles.values() for path, slot_bytes in _raw(tile)}

    def cost_of(job: Job, threads: int) -> plan_costs.Cost:
        found = each[job.rule].times(plan_costs.job_units(job.product, len(job.input), tile_bytes))
        return found.alone() if threads == 1 else found

    costs = {job.product: cost_of(job, job.threads) for job in jobs if job.todo}
    stages: dict[str, dict[str, Any]] = {}
    for rule in rules:
        mine = [job for job in jobs if job.rule == rule]
        todo = [costs[job.product] for job in mine if job.todo]
        reasons: dict[str, int] = defaultdict(int)
        for job in mine:
            for reason in job.reasons:
                reasons[reason] += 1
        stages[rule] = {
            "to_run": len(todo),
            "done": len(mine) - len(todo),
            "reasons": dict(reasons),
            "core_hours": sum(cost.core_seconds for cost in todo) / 3600.0,
            "hours_one_by_one": sum(cost.seconds for cost in todo) / 3600.0,
            "low_hours": sum(cost.low_s for cost in todo) / 3600.0,
            "high_hours": sum(cost.high_s for cost in todo) / 3600.0,
            "writes_bytes": round(sum(made[job.product] for job in mine if job.todo)),
            "time_from": each[rule].origin,
            "size_from": written[rule][1],
        }
    wall = []
    for machine in among:
        there = {job.product: cost_of(job, machine.threads_of(job)) for job in jobs if job.todo}
        scatter = {"hours": "seconds", "low_hours": "low_s", "high_hours": "high_s"}
        hours = {
            name: wall_seconds(jobs, {product: getattr(c, key) for product, c in there.items()}, machine)
            / 3600.0
            for name, key in scatter.items()
        }
        wall.append({**vars(machine), **hours})
    reads = sum(raw.get(path, made.get(path, 0.0)) for job in jobs if job.todo for path in job.input)
    cost = {
        "stages": stages,
        "core_hours": sum(stage["core_hours"] for stage in stages.values()),
        "wall": wall,
    }
    disk = {
        "reads_bytes": round(reads),
        "writes_bytes": sum(stage["writes_bytes"] for stage in stages.values()),
    }
    return cost, disk


def _raw(tile: Any) -> list[tuple[str, float]]:
    """Raw files of a tile, each with its part of the tile's bytes."""
    return [(path, tile.bytes / len(tile.files)) for path in tile.files]


def gather(config: Config, night: Night, jobs: Sequence[Job], *, cores: int) -> dict[str, Any]:
    """Put the facts of a plan together.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night
    jobs : sequence of Job
        From a dry run.
    cores : int
        Of this machine, that the run may use.

    Returns
    -------
    dict
        What `plan/….json` holds; `feasible` is False where `obstacles` names a reason.
    """
    by_product = {job.product: job for job in jobs}
    rows = tile_rows(night, by_product, config.products)
    cost, disk = cost_rows(
        jobs, night, config.products, machines(cores, config.slurm, config.threads_per_job)
    )
    reserve = config.disk_reserve_bytes
    disk |= {"free_bytes": free_bytes(config.products), "reserve_bytes": reserve}
    obstacles = []
    lacking = disk["writes_bytes"] + reserve - disk["free_bytes"]
    if lacking > 0 and disk["writes_bytes"]:
        obstacles.append(
            f"the disk of {config.products} will not hold it: {disk['writes_bytes'] / 1e9:.1f} GB to write and "
            f"{config.disk_reserve_gb:g} GB to stay free (disk_reserve_gb), {disk['free_bytes'] / 1e9:.1f} GB free; "
            f"make room for {lacking / 1e9:.1f} GB more, or take a shorter range"
        )
    lacking, hopeless = advice.lines(config, night), advice.uncalibrated(night)
    if lacking and len(hopeless) == len(night.selected):  # none, or none that can be calibrated
        obstacles += lacking
    return {
        "range": {"start": config.start, "end": config.end},
        "name": range_name(config, night),
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "incoming": str(config.incoming),
        "products": str(config.products),
        "feasible": not obstacles,
        "obstacles": obstacles,
        "warnings": [] if obstacles else lacking,
        "tiles": rows,
        "left_out": [{"tile": entry.tile, "reason": entry.reason} for entry in night.left_out],
        "strip_changes": strip_changes(rows),
        "transits": transit_rows(night, by_product, config.products),
        "mosaics": mosaic_rows(night, by_product, config.products),
        "made_again": again.made_again(jobs, config.products, config.model_dump(mode="json")),
        "cost": cost,
        "disk": disk,
        "imager": imager_of(config),
        "versions": versions(),
    }


def imager_of(config: Config) -> dict[str, Any]:
    """Which imager the run would use, with its version and a program's path."""
    said = resolve_imaging(config.imaging, load_tiers())
    backend = (
        programs.available_backend(int(said.channels_out))[0] if said.backend == "auto" else said.backend
    )
    return programs.describe(backend)


def make(config: Config, night: Night, *, target: str, cores: int, exact: bool = False) -> dict[str, Any]:
    """Plan a run and write its files.

    Parameters
    ----------
    config : Config
        With absolute paths.
    night : Night
    target : str
        What the run would be asked for, such as `all`.
    cores : int
        Of this machine, that the run may use.
    exact : bool
        Whether Snakemake is asked for the jobs, which takes it seconds for every thousand. So it is for a target that
        is none of the workflow's.

    Returns
    -------
    dict
        As `gather`, with `files`, the two paths written, and `jobs_from`, who listed the jobs.
    """
    from contimg.plan.page import page

    asked = exact or target not in TARGETS
    jobs = _asked(config, target, cores) if asked else planned(config, night, target=target, cores=cores)
    facts = gather(config, night, jobs, cores=cores) | {
        "target": target,
        "jobs_from": ASKED if asked else COUNTED,
    }
    base = config.products / "plan" / facts["name"]
    write_json(base.with_name(f"{base.name}.json"), facts)
    html = base.with_name(f"{base.name}.html")
    part = html.with_name(f"{html.name}.part.{os.getpid()}")
    part.write_text(page(facts), encoding="utf-8")
    os.replace(part, html)
    return facts | {"files": [str(html), str(base.with_name(f"{base.name}.json"))]}


def _asked(config: Config, target: str, cores: int) -> list[Job]:
    """Ask Snakemake for the jobs of a run."""
    if "/" not in target and (near := difflib.get_close_matches(target, TARGETS, n=1)):
        raise InputError(f"target: found {target!r}; did you mean {near[0]}?")
    with tempfile.TemporaryDirectory(prefix="contimg.plan.facts.") as folder:
        configfile = Path(folder, "config.json")
        write_json(configfile, config.model_dump(mode="json"))
        return dry_run(
            REPOSITORY, configfile, [target], python=sys.executable, folder=Path(folder), cores=cores
        )


def _to_run(stages: Mapping[str, Mapping[str, Any]]) -> str:
    """How many jobs are to run; of few rules, how many of each."""
    each = {rule: stage["to_run"] for rule, stage in stages.items() if stage["to_run"]}
    said = f"{sum(each.values())} to run"
    return f"{said} ({', '.join(f'{n} {rule}' for rule, n in each.items())})" if 0 < len(each) <= 3 else said


def summary(facts: Mapping[str, Any]) -> list[str]:
    """Say a plan in a few lines."""
    stages, disk = facts["cost"]["stages"], facts["disk"]
    chosen = [row for row in facts["tiles"] if row["in_range"]]
    lines = [
        f"{facts['name']}: {count_of(len(chosen), 'tile')}, {count_of(len(facts['left_out']), 'group')} left out, "
        f"{count_of(len(facts['transits']), 'transit')}, {count_of(len(facts['mosaics']), 'mosaic')}",
        f"jobs: {_to_run(stages)}, {sum(s['done'] for s in stages.values())} done; "
        f"{facts['cost']['core_hours']:.1f} core-hours",
    ]
    for wall in facts["cost"]["wall"]:
        lines.append(
            f"{wall['name']} ({wall['cores']} cores): {duration(3600 * wall['hours'])} "
            f"({duration(3600 * wall['low_hours'])} to {duration(3600 * wall['high_hours'])})"
        )
    lines.append(
        f"disk: {disk['reads_bytes'] / 1e9:.1f} GB to read, {disk['writes_bytes'] / 1e9:.1f} GB to write, "
        f"{disk['free_bytes'] / 1e9:.1f} GB free"
    )
    lines += again.lines(facts["made_again"])
    lines.append(f"imager: {programs.sentence(facts['imager'])}")
    lines += [f"WARNING: {warning}" for warning in facts["warnings"]]
    return [*lines, *(f"NOT FEASIBLE: {obstacle}" for obstacle in facts["obstacles"])]
