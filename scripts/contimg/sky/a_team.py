"""The sources so bright that they disturb through sidelobes: places and flux densities at 1.4 GHz.

Perley & Butler 2017, ApJS 230, 7; Cas A as of 2016. They are 2' to 6' wide: short baselines see them whole.
"""

from __future__ import annotations

A_TEAM: dict[str, tuple[float, float, float]] = {
    "Cas A": (350.8583, 58.8117, 1770.0),
    "Cyg A": (299.8682, 40.7339, 1580.0),
    "Tau A": (83.6331, 22.0145, 830.0),
    "Vir A": (187.7059, 12.3911, 212.0),
}
"""ICRS right ascension and declination (deg) and flux density (Jy)."""
