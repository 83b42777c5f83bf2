"""`contimg token`: who may use the service, and for what."""

from __future__ import annotations

import argparse
import time

from contimg.cli.numbers import number
from contimg.config.files import take_configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg token`."""
    take_configuration(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add", help="make a token, and print it: it is not kept and cannot be shown again"
    )
    add.add_argument("name", help="whose it is")
    add.add_argument(
        "--role", choices=("read", "run", "publish"), default="read", help="each may what the former may"
    )
    add.add_argument(
        "--days", type=number(0, 36500), help="how long it is good (default: until it is revoked)"
    )
    actions.add_parser("list", help="names, roles and ends of the tokens")
    revoke = actions.add_parser("revoke", help="take a token back, with the sessions opened with it")
    revoke.add_argument("name")


def run(args: argparse.Namespace) -> int:
    """Make, list or revoke."""
    from contimg.config.load import of_arguments
    from contimg.service.settings import Settings
    from contimg.service.tokens import Tokens

    config = of_arguments(args, check=False)
    tokens = Tokens(Settings.of(config).state)
    if args.action == "add":
        print(tokens.add(args.name, args.role, days=args.days))
    elif args.action == "revoke":
        tokens.revoke(args.name)
        print(f"{args.name}: revoked")
    else:
        for token in tokens.all():
            end = (
                "no end"
                if token.expires is None
                else time.strftime("until %Y-%m-%dT%H:%M:%SZ", time.gmtime(token.expires))
            )
            print(f"{token.name:24}  {token.role:8}  {end}")
    return 0
