"""What the addresses of the service share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from fastapi import Request

from contimg.service.limits import Bucket
from contimg.service.listing import Listing
from contimg.service.metrics import Metrics
from contimg.service.registry_reader import Registries
from contimg.service.scheduler import Scheduler
from contimg.service.security import Audit, Guard
from contimg.service.settings import Settings
from contimg.service.store import Store
from contimg.service.streams import Hub
from contimg.service.submit import Submitter
from contimg.service.tables import Sky
from contimg.service.watching import Watcher


@dataclass
class Service:
    """The parts of a service."""

    settings: Settings
    store: Store
    listing: Listing
    scheduler: Scheduler
    submitter: Submitter
    guard: Guard
    audit: Audit
    hub: Hub
    registries: Registries
    sky: Sky
    downloads: Bucket
    metrics: Metrics
    watcher: Watcher | None = None


def root_of(request: Request) -> str:
    """The path of a proxy that stands before every address; usually none."""
    return str(request.scope.get("root_path", ""))


def service_of(request: Request) -> Service:
    """The service that a request came to."""
    return cast("Service", request.app.state.service)
