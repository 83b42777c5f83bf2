"""`contimg watch`: the workflow for each tile and transit as it becomes complete, without serving anything."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from contimg.config.files import take_configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg watch`."""
    parser.add_argument("--once", action="store_true", help="look once, make what is ready, and end")
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Watch until interrupted; a start later repeats and forgets nothing."""
    from contimg.config.load import of_arguments
    from contimg.service.app import Parts
    from contimg.service.settings import Settings

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = of_arguments(args)
    parts = Parts(Settings.of(config), watch=True)
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        if args.once:
            _once(parts, stop)
        else:
            parts.start()
            stop.wait()
    finally:
        parts.close(began=not args.once)
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0


def _once(parts: object, stop: threading.Event) -> None:
    from contimg.service.app import Parts

    assert isinstance(parts, Parts)
    service = parts.service
    service.scheduler.recover()
    while not stop.is_set():
        if service.watcher is not None:
            service.watcher.look()
        service.scheduler.tick()
        if not service.store.ids("pending", "running"):
            break
        stop.wait(service.settings.options.poll_s)
    if service.watcher is not None:
        service.watcher.look()  # note what was made
