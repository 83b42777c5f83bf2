"""`contimg batch`: submit, list, show, follow, cancel and retry batches of a service."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from contimg.cli.numbers import count
from contimg.core.errors import InputError

ADDRESS, TOKEN = "CONTIMG_SERVICE", "CONTIMG_TOKEN"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg batch`."""
    parser.add_argument(
        "--service",
        default=os.environ.get(ADDRESS, "http://127.0.0.1:8000"),
        metavar="URL",
        help=f"the service (${ADDRESS}, or http://127.0.0.1:8000); a token stands in ${TOKEN}",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    submit = actions.add_parser("submit", help="ask for a batch")
    submit.add_argument(
        "kind", help="convert, calibrate, apply, image, mosaic, photometry, ese-detect or publish"
    )
    submit.add_argument("items", nargs="*", help="Measurement Sets, or mosaics for photometry and publish")
    submit.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="parameters, such as robust=0",
    )
    submit.add_argument("--body", type=Path, metavar="FILE", help="the whole body, as JSON")
    submit.add_argument("--dry-run", action="store_true", help="tell what it would do")
    submit.add_argument("--wait", action="store_true", help="wait for its end; 1 unless all is done")
    listed = actions.add_parser("list", help="batches, newest first")
    listed.add_argument("--limit", type=count(1, 10**6), default=20)
    listed.add_argument("--status")
    for name, text in (
        ("show", "a batch with its items"),
        ("logs", "what a batch has printed"),
        ("cancel", "end a batch"),
        ("retry", "make its failed items again"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("batch", type=count(1, 10**15))
        if name == "logs":
            action.add_argument("-f", "--follow", action="store_true", help="go on until it ends")


def run(args: argparse.Namespace) -> int:
    """Ask the service; its refusal is one line."""
    from contimg.client import Client, ServiceError

    try:
        with Client(args.service, os.environ.get(TOKEN)) as client:
            return _ACTIONS[args.action](client, args)
    except ServiceError as error:
        hint = "" if error.status else "; start it there (contimg serve), or name another with --service"
        raise InputError(f"{error}{hint}") from None


def _submit(client: Any, args: argparse.Namespace) -> int:
    if args.body is not None:
        try:
            body = json.loads(args.body.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{args.body}: expected JSON ({error})") from None
    else:
        body = body_of(args.kind, args.items, args.set)
    told = client.submit(args.kind, body, dry_run=args.dry_run)
    if args.dry_run:
        print(told.model_dump_json(indent=1))
        return 0
    print(f"batch {told.id}: {told.status}, {told.total_items} items", flush=True)
    for name, why in told.ignored.items():
        print(f"ignored: {name}: {why}", file=sys.stderr)
    if not args.wait:
        return 0
    ended = client.wait(told.id)
    _print(ended)
    return 0 if ended.status == "done" else 1


def body_of(kind: str, items: list[str], pairs: list[str]) -> dict[str, Any]:
    """The body of a request, in the guide's form."""
    import yaml

    parameters = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set: found {pair!r}; write key=value, such as robust=0")
        parameters[key] = yaml.safe_load(value)
    if kind in ("mosaic", "convert", "ese-detect"):
        return parameters
    field = {"photometry": "mosaics", "publish": "data_ids"}.get(kind, "ms_paths")
    return {field: items} | ({"parameters": parameters} if parameters else {})


def _list(client: Any, args: argparse.Namespace) -> int:
    for batch in client.batches(limit=args.limit, status=args.status).items:
        print(
            f"{batch.id:6}  {batch.kind:10}  {batch.status:9}  {batch.completed_items}/{batch.total_items} done, "
            f"{batch.failed_items} failed  {batch.created_at:%Y-%m-%dT%H:%M:%SZ}"
        )
    return 0


def _show(client: Any, args: argparse.Namespace) -> int:
    _print(client.batch(args.batch))
    return 0


def _print(batch: Any) -> None:
    print(f"batch {batch.id}: {batch.kind}, {batch.status}{', in ' + batch.branch if batch.branch else ''}")
    for item in batch.items:
        print(f"  {item.status:9}  {item.ms_path}{': ' + item.error if item.error else ''}")
        for line in item.log_lines:
            print(f"             | {line}")


def _logs(client: Any, args: argparse.Namespace) -> int:
    for text in client.logs(args.batch, follow=args.follow):
        print(text, end="", flush=True)
    return 0


def _cancel(client: Any, args: argparse.Namespace) -> int:
    print(client.cancel(args.batch).message)
    return 0


def _retry(client: Any, args: argparse.Namespace) -> int:
    print(f"batch {args.batch}: {client.retry(args.batch).status}")
    return 0


_ACTIONS = {
    "submit": _submit,
    "list": _list,
    "show": _show,
    "logs": _logs,
    "cancel": _cancel,
    "retry": _retry,
}
