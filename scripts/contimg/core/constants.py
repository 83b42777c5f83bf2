"""Constants of nature and of the clock that several packages share."""

from __future__ import annotations

SPEED_OF_LIGHT_M_S = 299792458.0
REFERENCE_HZ = 1.4e9
MJD_EPOCH_JD = 2400000.5
SECONDS_PER_DAY = 86400.0
