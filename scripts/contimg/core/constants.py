"""Constants of nature, of the clock and of statistics: the only place where their digits stand.

`contimg.simulate` has its own: it shares nothing with what it tests.
"""

from __future__ import annotations

SPEED_OF_LIGHT_M_S = 299792458.0
REFERENCE_HZ = 1.4e9
MJD_EPOCH_JD = 2400000.5
MJD_UNIX_EPOCH = 40587.0
"""1970-01-01."""
SECONDS_PER_DAY = 86400.0
MJD_J2000 = 51544.5
EARTH_TURNS_AT_J2000 = 0.7790572732640
EARTH_TURNS_PER_DAY = 1.00273781191135448
"""Earth rotation angle in turns: at J2000, and in a day of UT1 (IAU 2000 resolution B1.8)."""
MAD_TO_SIGMA = 1.4826
"""Of a normal distribution, standard deviation over median absolute deviation: 1 / 0.6745."""
