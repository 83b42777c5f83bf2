"""Angles on the circle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Angle = TypeVar("Angle", float, NDArray[Any])


def wrap_deg(angle_deg: Angle) -> Angle:
    """Angle, or array of angles, brought to [-180, 180) degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0
