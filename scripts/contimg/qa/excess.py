"""Why a tile's image is noisier than expected, in words: what its records say that the expected noise does not hold.

Expected are thermal noise, from the data's own weights, and confusion (`contimg.qa.gates.expected_rms_jy`). A high SEFD
and lost data are in that. What is above it is what calibration and CLEAN left, or signals that are not of the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contimg.core.text import some
from contimg.qa.gates import ImageFacts
from contimg.qa.verdict import NOISIER

FLAGGED = 0.25
LONG_BEAM = 3.0
SIGNIFICANCE = 3.0
FAINT_NOISE = 1.5


def why(facts: ImageFacts, made: Mapping[str, Any], *, brightest_jy: float) -> list[str]:
    """Causes in words, of a tile that is noisier than expected; none of others.

    Parameters
    ----------
    facts : ImageFacts
        What its gates look at.
    made : mapping
        The image's metrics.
    brightest_jy : float
        Flux of its brightest source, Jy; NaN where it has none.
    """
    from contimg.qa.conditions import unfinished

    if not facts.rms > NOISIER:
        return []
    causes = [
        *_bright(facts, made["rms_jy"], brightest_jy),
        *_faint(made.get("sky_model") or {}),
        *_antennas(facts),
        *elsewhere(made.get("outside") or {}),
        *unfinished(made),
        *_coverage(facts),
    ]
    return causes or ["nothing in its records says why: look at its residual and at the data"]


def _bright(facts: ImageFacts, rms_jy: float, brightest_jy: float) -> list[str]:
    """Residual sidelobes: what the noise round the brightest source has beyond the image's is more than
    the image's own; and holes beside peaks."""
    causes = []
    if facts.near.n_bright and brightest_jy > facts.near.dynamic_range * rms_jy:
        beyond_mjy = 1e3 * brightest_jy / facts.near.dynamic_range
        causes.append(
            f"sidelobes of a source of {brightest_jy:.2g} Jy are left, {beyond_mjy:.2g} mJy/beam round it"
        )
    if facts.n_negative > 0.1 * facts.n_positive:
        causes.append(
            f"{facts.n_negative} holes as deep as {facts.options.detection_snr:g} σ beside {facts.n_positive} peaks: "
            "sidelobes or interference"
        )
    return causes


def _faint(sky_model: Mapping[str, Any]) -> list[str]:
    """Sources that nothing finds: their sidelobes are what residuals of natural weights have beyond thermal noise."""
    noise = sky_model.get("neighbour_noise", 0.0)
    if noise <= FAINT_NOISE:
        return []
    return [f"sidelobes of sources too faint to be found ({noise:.1f} × thermal noise at natural weights)"]


def _antennas(facts: ImageFacts) -> list[str]:
    """Antennas whose gains are off, or were while they changed."""
    off = [] if facts.antennas.left is None else list(facts.antennas.left["antennas"])
    causes = [f"gains are off: antenna {some(off)}"] if off else []
    if facts.antennas.followed:
        causes.append(f"gains changed within the tile: antenna {some(facts.antennas.followed)}")
    return causes


def elsewhere(outside: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sources far outside the field that are in the data: `contimg.drift.outside`."""
    return [
        f"{name}, {found['distance_deg']:.0f} deg away, is in the data"
        + (" and was subtracted" if found["removed"] else " and was not subtracted")
        for name, found in outside.items()
        if found["removed"] or found.get("significance", 0.0) > SIGNIFICANCE
    ]


def _coverage(facts: ImageFacts) -> list[str]:
    """A filled uv plane keeps sidelobes low."""
    causes = []
    if facts.flags > FLAGGED:
        causes.append(f"{facts.flags:.0%} of the data are flagged: sidelobes are higher")
    if facts.beam > LONG_BEAM:
        causes.append(f"the beam is {facts.beam:.1f} times as long as wide: sidelobes are higher")
    return causes
