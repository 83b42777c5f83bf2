"""The options of `service:`: where it listens, what it lets in, how it runs batches and what it watches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from contimg.core import values
from contimg.core.options import NUMBER, Name, Options, Place, key

Count = Annotated[int, Field(ge=1, le=1_000_000), NUMBER]
Positive = Annotated[float, Field(gt=0), NUMBER]
Prefix = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._~-]*)+$", max_length=200)]
Names = Annotated[tuple[Name, ...], BeforeValidator(values.listed)]


class ServiceOptions(Options):
    """Batches over REST (`contimg serve`): where it listens, what it lets in, how it runs, what it watches."""

    host: Name = key(
        "127.0.0.1",
        "Address that it listens on; other than loopback only with tokens (contimg token).",
        expects="an address",
    )
    port: Annotated[int, Field(ge=0, le=65535), NUMBER] = key(8000, "Port that it listens on; 0: a free one.")
    names: Names = key(
        (),
        "Further names that it is called by, as in a browser's address, behind a reverse proxy for instance.",
        expects="host names such as [contimg.example.org]",
        example=["contimg.example.org"],
    )
    proxies: Names = key(
        (),
        "Addresses of reverse proxies: they alone are believed who the client is (X-Forwarded-For, X-Forwarded-Proto).",
        expects="addresses such as [127.0.0.1]",
        example=["127.0.0.1"],
    )
    prefix: Prefix | None = key(
        None, "Path below the proxy's name at which it stands, if it has no name of its own; null: none.",
        expects="a path such as /contimg, or null",
        example="/contimg",
    )  # fmt: skip
    roots: Annotated[tuple[Place, ...], BeforeValidator(values.listed)] = key(
        (),
        "Directories beside products and incoming that paths of requests may lie in; nothing there is opened.",
        expects="paths such as [/stage/ms]",
        example=["/stage/ms"],
    )
    cores: Annotated[int, Field(ge=1), NUMBER] | Literal["all"] = key(
        "all", "Cores of a run on this machine."
    )
    profile: Literal["slurm"] | None = key(
        None, "Where jobs run: null, on this machine; slurm, by the profile of that name."
    )
    max_running: Annotated[int, Field(ge=1, le=16), NUMBER] = key(
        1, "Runs at the same time. Of one tree of products never more than one."
    )
    max_pending: Count = key(1000, "Batches that may wait; a further one is refused.", unit="batches")
    max_items: Count = key(1000, "Items of a batch.")
    max_restarts: Annotated[int, Field(ge=0, le=20), NUMBER] = key(
        2, "How often a run that was killed, or whose machine stopped, is started again."
    )
    cancel_grace_s: Annotated[float, Field(ge=0, le=600), NUMBER] = key(
        20.0, "How long a cancelled run may take to end its jobs before it is killed.", unit="s"
    )
    poll_s: Positive = key(0.5, "How often runs and their logs are looked at.", unit="s")
    max_body_kb: Count = key(1024, "Longest body of a request.", unit="kB")
    body_timeout_s: Positive = key(20.0, "How long a body may take to come.", unit="s")
    stall_s: Positive = key(
        60.0, "How long a client may leave unread what it asked for before it is given up.", unit="s"
    )
    requests_per_s: Positive = key(
        50.0, "Requests of one client; it may save up ten seconds' worth.", unit="1/s"
    )
    downloads_per_min: Positive = key(60.0, "Downloads of files and cut-outs of one client.", unit="1/min")
    max_downloads: Annotated[int, Field(ge=1, le=1000), NUMBER] = key(
        4, "Downloads at the same time, of all."
    )
    max_listeners: Count = key(1000, "Streams of logs at the same time, of all.")
    session_hours: Positive = key(12.0, "How long a browser's session lasts.", unit="h")
    secure_cookies: bool = key(
        False, "Cookies by https alone: true behind a reverse proxy that speaks https."
    )
    watch: bool = key(
        False, "Start the workflow for each tile and transit as it becomes complete (also: contimg watch)."
    )
    watch_poll_s: Positive = key(30.0, "How often `incoming` is looked at.", unit="s")
    settle_minutes: Annotated[float, Field(ge=0), NUMBER] = key(
        10.0,
        "A tile that lacks subbands (but has min_subbands) is taken when none of its files changed for this long.",
        unit="min",
    )
    watch_calibrators: Names = key(
        (), "Calibrators whose transits are mosaicked as they become complete.", expects="names, such as [3C286]",
        example=["3C286"],
    )  # fmt: skip
    no_data_minutes: Annotated[float, Field(ge=0), NUMBER] = key(
        0.0, "Tell (notify) when no new tile came for this long; 0: never.", unit="min"
    )
    disk_low_gb: Annotated[float, Field(ge=0), NUMBER] = key(
        50.0, "Tell when less than this is free where the products are.", unit="GB"
    )
    qa_fail_fraction: Annotated[float, Field(ge=0, le=1), NUMBER] = key(
        0.5, "Tell when more than this part of a strip's tiles of a night fail their gates."
    )

    def allowed(self, products: Path, incoming: Path) -> tuple[Path, ...]:
        """Directories that paths of requests may lie in."""
        return (products, incoming, *self.roots)
