"""Angles on the circle, and how fast the sky turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from contimg.core.constants import EARTH_TURNS_PER_DAY, SECONDS_PER_DAY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Angle = TypeVar("Angle", float, NDArray[Any])


def drift_deg(seconds: float) -> float:
    """Right ascension that passes the meridian in so many seconds, degrees."""
    return 360.0 * EARTH_TURNS_PER_DAY * seconds / SECONDS_PER_DAY


def wrap_deg(angle_deg: Angle) -> Angle:
    """Angle, or array of angles, brought to [-180, 180) degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0
