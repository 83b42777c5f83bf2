"""What a calibrator consists of where it is no point: components at offsets from its place, with shares of the flux.

In the catalogue's column `components` each is written SHARE:EAST:NORTH or SHARE:EAST:NORTH:MAJOR:MINOR:ANGLE, in arcsec
and degrees (north through east), several divided by blanks. Shares add up to 1; all have the spectrum of the whole.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class Component:
    """A point, or a Gaussian of full widths at half maximum."""

    share: float
    east_arcsec: float
    north_arcsec: float
    major_arcsec: float = 0.0
    minor_arcsec: float = 0.0
    angle_deg: float = 0.0

    def __str__(self) -> str:
        """As the column has it."""
        return ":".join(f"{value:.6g}" for value in astuple(self))


POINT = Component(1.0, 0.0, 0.0)


def parse_components(text: str) -> tuple[Component, ...]:
    """Read the column; nothing is one point.

    Raises
    ------
    ValueError
        It is not written as it should be, or the shares do not add up to 1 within 1 %.
    """
    if not text.strip():
        return (POINT,)
    found = []
    for part in text.split():
        numbers = [float(word) for word in part.split(":")]
        if len(numbers) not in (3, 6) or not all(map(math.isfinite, numbers)) or numbers[0] <= 0:
            raise ValueError(f"{part!r} is not SHARE:EAST:NORTH or SHARE:EAST:NORTH:MAJOR:MINOR:ANGLE")
        found.append(Component(*numbers))
    total = sum(component.share for component in found)
    if abs(total - 1.0) > 0.01:
        raise ValueError(f"the shares add up to {total:g}, not to 1")
    return tuple(found)
