"""Angles on the circle."""

from __future__ import annotations


def wrap_deg(angle_deg: float) -> float:
    """Angle brought to [-180, 180) degrees."""
    return (angle_deg + 180.0) % 360.0 - 180.0
