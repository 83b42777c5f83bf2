"""From a request's body to a batch on the list, or to what it would do."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel

from contimg.api import answers
from contimg.api.bodies import Wrapped
from contimg.core.errors import ConfigError, InputError
from contimg.core.products import write_json
from contimg.service import orders, planning, wire
from contimg.service.scheduler import Scheduler
from contimg.service.settings import Settings
from contimg.service.store import BatchRow, NewBatch, Store

_DRY_RUN_S = 180.0
_dry_runs = threading.Semaphore(2)


class Submitter:
    """Takes requests.

    Parameters
    ----------
    settings : Settings
    store : Store
    scheduler : Scheduler
        Woken when there is something new.
    """

    def __init__(self, settings: Settings, store: Store, scheduler: Scheduler) -> None:
        self._settings, self._store, self._scheduler = settings, store, scheduler

    def submit(
        self,
        kind: str,
        body: BaseModel,
        *,
        by: str | None,
        key: str | None = None,
        single: bool = False,
        dry_run: bool = False,
        may_publish: bool = True,
    ) -> answers.Batch | answers.DryRun:
        """Put a batch on the list, or tell what it would do.

        Raises
        ------
        HTTPException
            400, 403, 409, 422, 429 or 501, with the reason.
        """
        order = self.order(kind, body, single=single)
        if order.extra.get("wait") and not may_publish:
            raise HTTPException(403, "wait_for_published publishes; the token's role does not reach that")
        if dry_run:
            return self._dry_run(order)
        return wire.batch(self.add(order, by=by, key=key, single=single, origin="request"))

    def order(self, kind: str, body: BaseModel, *, single: bool) -> orders.Order:
        """Understand a request and check it against the configuration."""
        if isinstance(body, Wrapped):
            if body.job_type != kind:
                raise HTTPException(400, f"job_type: found {body.job_type}; this address takes {kind}")
            body = body.params
        why = planning.missing(kind)
        if why is not None:
            raise HTTPException(501, why)
        try:
            order = orders.understand(kind, body, self._settings.place)
            self._check(order)
        except (InputError, ConfigError) as error:
            raise HTTPException(422, str(error)) from None
        most = self._settings.options.max_items
        if not 0 < len(order.items) <= (1 if single else most):
            expected = "exactly one item" if single else f"1 to {most} items"
            raise HTTPException(422, f"expected {expected}, found {len(order.items)}")
        return order

    def _check(self, order: orders.Order) -> None:
        """Validate what an order changes and selects; what is as configured is no change."""
        spec = order.spec()
        spec["selection"] = spec["selection"] | planning.spanned(spec)
        config = planning.configuration(self._settings.base, spec)
        told = config.model_dump(mode="json")
        for section, changes in list(order.changed.items()):
            own = self._settings.base[section]
            kept = {key: told[section][key] for key in changes if told[section][key] != own.get(key)}
            order.changed[section] = kept
            if not kept:
                del order.changed[section]
        if order.selection.get("calibrator"):
            from contimg.config.load import catalogued

            order.selection["calibrator"] = catalogued(
                order.selection["calibrator"], self._settings.config.calibrators
            )

    def add(
        self,
        order: orders.Order,
        *,
        by: str | None,
        key: str | None,
        single: bool,
        origin: str,
        watched: Sequence[str] = (),
    ) -> BatchRow:
        """Put an order on the list; what is `watched` is marked with it."""
        waiting = self._store.waiting()
        if waiting >= self._settings.options.max_pending:
            raise HTTPException(429, f"{waiting} batches wait already", headers={"Retry-After": "60"})
        new = NewBatch(
            kind=order.kind,
            params=order.params,
            spec=order.spec(),
            ignored=order.ignored,
            digest=order.digest(),
            items=order.items,
            branch_digest=self.branch_digest(order),
            submitted_by=by,
            idem_key=key,
            single=single,
            origin=origin,
        )
        try:
            batch, is_new = self._store.add(new, watched=watched)
        except KeyError:
            raise HTTPException(409, "this Idempotency-Key was used for another request") from None
        if is_new:
            self._scheduler.wake()
        return batch

    def branch_digest(self, order: orders.Order) -> str | None:
        """What tells the branch of the tree that an order needs: the same changes share one; None: the tree itself."""
        if order.extra.get("again"):
            return orders.digest([order.changed, time.time_ns()])
        if order.extra.get("coordinates"):
            return orders.digest([order.changed, order.extra["coordinates"]])
        return orders.digest(order.changed) if order.changed else None

    def _dry_run(self, order: orders.Order) -> answers.DryRun:
        told = answers.DryRun(
            type=f"batch_{order.kind}",
            items=[{"ms_path": name, "error": problem, "products": []} for name, problem in order.items],
            ignored=order.ignored,
            changed=order.changed,
        )
        if all(problem for _, problem in order.items) or order.extra.get("wait"):
            return told
        if not _dry_runs.acquire(blocking=False):
            raise HTTPException(429, "two plans are being made already", headers={"Retry-After": "10"})
        try:
            found = self._plan(order)
        finally:
            _dry_runs.release()
        items = {item["name"]: item for item in found.pop("items")}
        for item in told.items:
            planned = items.get(item["ms_path"])
            if planned is not None:
                item |= {"error": planned["error"], "products": planned["targets"]}
        return told.model_copy(update=found)

    def _plan(self, order: orders.Order) -> dict[str, Any]:
        """Ask a process of its own what an order would do."""
        branch = None if self.branch_digest(order) is None else 0
        scratch = self._settings.state / "plans"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as name:
            folder = Path(name)
            request = {
                "config": self._settings.base,
                "spec": order.spec(),
                "items": [one for one, problem in order.items if problem is None],
                "tree": str(self._settings.products if branch is None else folder / "tree"),
                "branch": branch,
                "snakefile": str(self._settings.snakefile),
                "cores": self._settings.cores(order.cores),
            }
            write_json(folder / "request.json", request)
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "contimg.service.dry_run", str(folder)],
                    capture_output=True, text=True, check=False, timeout=_DRY_RUN_S, start_new_session=True,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise HTTPException(422, f"the plan was not made within {_DRY_RUN_S:g} s") from None
            if done.returncode or not (folder / "answer.json").is_file():
                last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
                raise HTTPException(422, f"cannot be planned: {''.join(last)[:1000]}")
            found: dict[str, Any] = json.loads((folder / "answer.json").read_text())
        return found
