"""`contimg unattended`: wait for a calibrator's transit, make its mosaic, publish it and say where it is.

Exit status: 0 published (the directory is printed); 2 wrong arguments or configuration; 3 the data did not come in
time; 4 the mosaic is rejected, failed a gate or was withdrawn; 5 the run failed, whatever was published before; 129,
130 or 143 ended by SIGHUP, SIGINT or SIGTERM: nothing is left running.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import yaml

from contimg.cli.numbers import number
from contimg.config.load import catalogued, load
from contimg.config.model import Config
from contimg.core import names
from contimg.core.products import read_json, remove, write_json
from contimg.index.load import cache_of, load_index
from contimg.jobs import frame, treelock
from contimg.night.night import plan
from contimg.night.readiness import (
    Readiness,
    WaitedTooLong,
    Wanted,
    newest_change,
    next_transit,
    placed,
    readiness,
    transit_on,
    wait,
)
from contimg.run import child
from contimg.sky.calibrators import Calibrator, read_calibrators

TIMED_OUT, REJECTED, FAILED = 3, 4, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg unattended`."""
    from contimg.config.files import take_configuration

    parser.add_argument("--calibrator", required=True, metavar="NAME", help="of the calibrator catalogue")
    parser.add_argument("--transit-date", metavar="UTC", help="date of the transit (default: the next one)")
    parser.add_argument(
        "--timespan-minutes",
        type=number(0, 1440),
        metavar="MIN",
        help="full width round it (default: mosaic.width_minutes)",
    )
    parser.add_argument(
        "--poll-interval", type=number(0, 86400), default=30.0, metavar="S", help="seconds between looks (30)"
    )
    parser.add_argument(
        "--max-wait-hours",
        type=number(0, 1e5),
        default=24.0,
        metavar="H",
        help="longest wait, from the end of the transit's window or, if later, from the start of this command (24)",
    )
    parser.add_argument(
        "--settle-minutes",
        type=number(0, 1e9),
        default=10.0,
        metavar="MIN",
        help="incomplete data are taken as they are when the window is over and nothing changed for this long (10)",
    )
    parser.add_argument("--cores", default="all", help="cores of the run (all)")
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Wait, make, publish; every way to end has its status and its line."""
    from contimg.config.files import read_configuration

    values = read_configuration(args.configfile, args.config)
    values |= {
        "calibrator": args.calibrator,
        "transit_date": args.transit_date or f"{datetime.now(UTC):%Y-%m-%d}",
        "window_minutes": args.timespan_minutes,
        "start": None,
        "end": None,
        "mosaic_name": None,
    }
    config = load(values).resolved(Path.cwd())
    calibrator = next(
        entry
        for entry in read_calibrators(config.calibrators)
        if entry.name == catalogued(args.calibrator, config.calibrators)
    )
    request = config.products / "state" / "requests" / f"{calibrator.name}.json"
    wanted = _wanted(config, calibrator, args.transit_date, request, args.max_wait_hours)
    try:
        with child.signals_raise():
            return _carry_out(args, config, wanted, request)
    except child.Ended as ended:
        _say(f"ended by {ended}; the same command goes on from here")
        return 128 + ended.number


def _wanted(
    config: Config, calibrator: Calibrator, day: str | None, request: Path, max_wait_hours: float
) -> Wanted:
    """The transit asked for, that of an interrupted request, or the next one; it is kept as the request."""
    half_days = (config.window_minutes or config.mosaic.width_minutes) / 2880.0
    now = _now_mjd()
    if day is not None and config.transit_date is not None:
        instant = transit_on(calibrator.ra_deg, config.transit_date)
    else:
        instant = next_transit(calibrator.ra_deg, now)
        pending = read_json(request)["transit_mjd"] if request.is_file() else None
        if pending is not None and now < pending + half_days + max_wait_hours / 24.0:
            instant = pending
    write_json(request, {"transit_mjd": instant})
    when = f"{names.utc(instant):%Y-%m-%dT%H:%M:%SZ}"
    _say(f"transit of {calibrator.name} at {when}, tiles within {1440 * half_days:g} minutes of it")
    return Wanted(calibrator, instant, half_days)


def _carry_out(args: argparse.Namespace, config: Config, wanted: Wanted, request: Path) -> int:
    day = names.utc(wanted.mjd).strftime("%Y-%m-%d")
    config = config.model_copy(update={"transit_date": day, "window_minutes": 2880.0 * wanted.half_days})
    try:
        wait(
            lambda: _look(config, wanted, args.settle_minutes),
            until_mjd=max(wanted.end_mjd, _now_mjd()) + args.max_wait_hours / 24.0,
            poll_s=args.poll_interval,
            clock=_now_mjd,
            sleep=time.sleep,
            say=_say,
        )
    except WaitedTooLong as error:
        remove(request)
        _say(f"gave up after {args.max_wait_hours:g} h: {error}")
        return TIMED_OUT
    state = config.products / "state"
    notify, variables = config.notify.handed_on()
    config = config.model_copy(update={"notify": notify})
    os.environ.update(variables)
    settings = request.with_suffix(".yaml")
    settings.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    windows = plan(config, cache=state / "index").windows.values()
    window = min(windows, key=lambda window: abs(window.mid_mjd - wanted.mjd), default=None)
    if window is None:
        _say("the mosaic cannot be made any more: its data are retired and an image of it is lost")
        return FAILED
    status = child.workflow(["--cores", str(args.cores), "publish", "--configfile", str(settings)])
    receipt = config.products / names.receipt(window.path.split("/")[2], window.name)
    known = read_json(receipt) if receipt.is_file() else None
    if status != 0 or known is None:
        why = "" if known is None or known["reason"] is None else f" ({window.path}: {known['reason']})"
        _say(
            f"the run ended with {status}{why}; its log says why. Nothing is said of what was published before; "
            f"`{_retry(config.products)}` where it was an error, then the same command tries again"
        )
        return FAILED
    return _told(known, window.path, config.products, request)


def _told(receipt: dict[str, object], mosaic: str, products: Path, request: Path) -> int:
    """Say what became of a mosaic, and return the status that says it."""
    reason = receipt["reason"]
    if reason is None:
        reason = _not_current(products, mosaic)
    if reason is None:
        remove(request)
        print(products / str(receipt["published"]))
        return 0
    if frame.ERROR_PREFIX in str(reason):
        _say(f"{mosaic}: {reason}; `{_retry(products)}`, then the same command tries again")
        return FAILED
    remove(request)
    _say(f"{mosaic} is not published: {reason}")
    return REJECTED


def _retry(products: Path) -> str:
    """The command that lets the next run try again, as one may type it."""
    return f"contimg retry --products {shlex.quote(str(products))}"


def _not_current(products: Path, mosaic: str) -> str | None:
    """Why what was published of a mosaic is not what it is now; None if it is."""
    from contimg.publish.versions import damaged, digests, published_versions

    versions = published_versions(products / names.publication(mosaic))
    pixels = digests(products / mosaic)
    same = [version for version in versions if version.manifest["sources"] == pixels]
    kept = [version for version in same if version.withdrawn is None]
    if not kept:
        return f"it is withdrawn: {same[-1].withdrawn}" if same else f"{frame.ERROR_PREFIX}it changed since"
    broken = damaged(kept[-1])
    return f"{frame.ERROR_PREFIX}its publication is damaged: {broken[0]}" if broken else None


def _look(config: Config, wanted: Wanted, settle_minutes: float) -> Readiness:
    """Look at `incoming` and at the lock of the products tree."""
    margin = wanted.half_days + 0.02
    index = load_index(
        config,
        start_mjd=wanted.mjd - margin,
        end_mjd=wanted.mjd + margin,
        cache=cache_of(config.products),
    ).index
    here = placed(index, wanted)
    found = readiness(
        index,
        here,
        now_mjd=_now_mjd(),
        changed_mjd=newest_change(index, here),
        settle_minutes=settle_minutes,
    )
    holder = treelock.holder(config.products / "state" / "lock") if found.ready else None
    if holder is not None:
        return Readiness(False, f"{found.said}; another run writes the products tree ({holder})")
    return found


def _now_mjd() -> float:
    return names.mjd(datetime.now(UTC))


def _say(line: str) -> None:
    print(f"contimg unattended: {line}", file=sys.stderr, flush=True)
