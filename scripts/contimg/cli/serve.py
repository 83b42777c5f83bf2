"""`contimg serve`: batches over REST, and pages of what the products tree holds."""

from __future__ import annotations

import argparse
import logging
import socket
from pathlib import Path

from contimg.config.files import take_configuration
from contimg.core.errors import ConfigError, SystemFault


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `contimg serve`."""
    parser.add_argument(
        "--openapi", type=Path, metavar="FILE", help="write the OpenAPI document there, and end"
    )
    take_configuration(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; runs that go on then are found again by the next start."""
    try:
        import uvicorn

        from contimg.service.app import create, openapi
    except ImportError as error:
        raise SystemFault(f"{error}; install the service: pip install 'dsa110-continuum[service]'") from None
    from contimg.config.load import of_arguments
    from contimg.service.security import is_loopback
    from contimg.service.settings import Settings
    from contimg.service.tokens import Tokens

    config = of_arguments(args)
    settings = Settings.of(config)
    if args.openapi is not None:
        openapi(args.openapi, settings)
        return 0
    options = settings.options
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    if not Tokens(settings.state).all():
        if not is_loopback(options.host):
            raise ConfigError(
                f"service.host: found {options.host}, and there are no tokens; make one (contimg token add NAME --role "
                "run), or listen on 127.0.0.1"
            )
        print(
            f"contimg serve: no tokens: whoever reaches {options.host}:{options.port} on this machine may all"
        )
    serving = uvicorn.Config(
        create(settings),
        host=options.host,
        port=options.port,
        log_level="warning",
        limit_concurrency=options.max_listeners + 500,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=64 * 1024,
        server_header=False,
        proxy_headers=False,  # the application's own: service.proxies
    )
    uvicorn.Server(serving).run(sockets=[listening(serving.bind_socket(), options.stall_s)])
    return 0


def listening(bound: socket.socket, stall_s: float) -> socket.socket:
    """A socket whose connections end when the other side takes nothing of what was sent for so long."""
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * stall_s))
    return bound
