"""Verdicts: what a gate says of a product, and what the gates say together.

`qa/{date}/{product}.json` is the sidecar of a verdict: the fields that every sidecar has, and

- `product`: directory of the tile's image or of the mosaic; `kind`: ``tile`` or ``mosaic``;
- `verdict`: ``pass`` or ``fail``. A product that was rejected when it was made fails;
- `reason`: why it fails, None if it passes;
- `gates`: by name, each `value`, `low`, `high` (limits, None where there is none), `unit`, `verdict` (``pass``,
  ``fail``, ``not evaluated``), `reason` (None if it passes) and `advisory` (told, but stops nothing);
- `notes`: what a user of the product should know, such as an observation by day.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from contimg.core.products import read_json, status

PASS = "pass"
FAIL = "fail"
NOT_EVALUATED = "not evaluated"
NOISIER = 1.2
"""A tile's rms over the expected one; above it the verdict's metrics say `why_noisy`."""


class Limits(NamedTuple):
    """Limits of a gate, both inclusive, None where there is none; unit of its value."""

    low: float | None
    high: float | None
    unit: str = ""


@dataclass(frozen=True)
class Gate:
    """What one gate says.

    Attributes
    ----------
    name : str
    value : float or None
        None if it could not be evaluated.
    limits : Limits
    verdict : str
        `PASS`, `FAIL` or `NOT_EVALUATED`.
    reason : str or None
        Why it did not pass.
    advisory : bool
        Whether a failure stops nothing.
    """

    name: str
    value: float | None
    limits: Limits
    verdict: str
    reason: str | None
    advisory: bool = False

    def to_json(self) -> dict[str, Any]:
        """What a sidecar says of it."""
        return {
            "value": self.value,
            **self.limits._asdict(),
            "verdict": self.verdict,
            "reason": self.reason,
            "advisory": self.advisory,
        }


def judge(name: str, value: float, limits: Limits) -> Gate:
    """Hold a number against its limits; one that is not finite is not evaluated."""
    if not math.isfinite(value):
        return not_evaluated(name, "the value is not known", limits)
    low, high, unit = limits
    reason = None
    for limit, beyond in ((low, low is not None and value < low), (high, high is not None and value > high)):
        if beyond:
            reason = f"{name} {f'{value:.3g} {unit}'.rstrip()}, limit {limit:g}"
    return Gate(name, float(value), limits, PASS if reason is None else FAIL, reason)


def not_evaluated(name: str, why: str, limits: Limits) -> Gate:
    """A gate that says nothing, and why."""
    return Gate(name, None, limits, NOT_EVALUATED, why)


def advise(gates: Iterable[Gate], advisory: Sequence[str]) -> list[Gate]:
    """Mark the gates that stop nothing."""
    return [replace(gate, advisory=gate.name in advisory) for gate in gates]


def failure(gates: Iterable[Gate]) -> str | None:
    """Reasons of the gates that stop a product, in one line; None if there is none."""
    reasons = [str(gate.reason) for gate in gates if gate.verdict == FAIL and not gate.advisory]
    return "; ".join(reasons) or None


def record(
    product: str,
    kind: str,
    gates: Sequence[Gate] = (),
    *,
    rejected: str | None = None,
    notes: Sequence[str] = (),
    inputs: Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the sidecar of a verdict.

    Parameters
    ----------
    product : str
        Directory of the product, relative to the products tree.
    kind : {"tile", "mosaic"}
    gates : sequence of Gate
    rejected : str, optional
        Why there is nothing to judge: the product itself was rejected, or could not be judged.
    notes, inputs, parameters, metrics
        As they are written.
    """
    reason = rejected if rejected is not None else failure(gates)
    return {
        **status(reason, inputs=inputs, parameters=dict(parameters or {}), metrics=dict(metrics or {})),
        "product": product,
        "kind": kind,
        "verdict": PASS if reason is None else FAIL,
        "gates": {gate.name: gate.to_json() for gate in gates},
        "notes": list(notes),
    }


def stopped(verdicts: Iterable[Path]) -> dict[str, str]:
    """Products that failed: their directory and why, of the sidecars of verdicts."""
    found = {}
    for path in verdicts:
        verdict = read_json(path)
        if verdict["verdict"] == FAIL:
            found[verdict["product"]] = f"qa: {verdict['reason']}"
    return found
