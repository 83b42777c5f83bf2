"""The Sun through far sidelobes: it moves, and is so wide that only the shortest baselines see it."""

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, HADec, SkyCoord
from astropy.time import Time
from casacore import tables

from builders.drift_tiles import average, simulated_ms, table_of
from contimg.drift.fit import fit
from contimg.drift.outside import remove_outside
from contimg.ms.private import PrivateSet
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam

BEAM = AiryBeam(4.65)
SUN_JY = 100.0
NOON = "2025-10-30T20:00:00"
# one arm from end to end, 5.75 m apart: the Gaussian of 30' is below 0.2 beyond 16 m
TILE = {
    "start": NOON,
    "antennas": tuple(str(k) for k in (*range(1, 21), 70, 71, 72, 73)),
    "n_integrations": 8,
    "n_subbands": 16,
    "n_channels": 6,
    "sefd_jy": 2500.0,
}


def overhead() -> Source:
    """A field source on the meridian at noon, at the pointing's declination."""
    place = EarthLocation.from_geodetic(-118.283, 37.234, 1188.0)
    frame = HADec(ha=0 * u.rad, dec=55.1 * u.deg, obstime=Time(NOON) + 50 * u.s, location=place)
    where = SkyCoord(frame).icrs
    return Source("field", where.ra.deg, where.dec.deg, 8.8, -0.5)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The same tile without and with the Sun, same noise: what the Sun adds before and after, the report, fluxes."""
    folder = tmp_path_factory.mktemp("sun")
    sets = []
    for kind, sun_jy in (("night", 0.0), ("day", SUN_JY)):
        (folder / kind).mkdir()
        raw = simulated_ms(folder / kind, (overhead(),), sun_jy=sun_jy, **TILE)
        sets.append(average(raw, folder / f"{kind}.ms", 2))
    without, with_it = sets

    def added():
        data = []
        for path in (with_it, without):
            with tables.table(str(path), ack=False) as table:
                data.append(table.getcol("DATA"))
        return float(np.sqrt(np.mean(np.abs(data[0] - data[1]) ** 2)))

    known = table_of((overhead(),))
    options = {"beam": BEAM, "freq_average": 2, "threads": 2}
    before = added()
    report = remove_outside(PrivateSet(with_it), known, **options)
    fluxes = [float(fit(ms, known, **options).table["flux_jy"].iloc[0]) for ms in sets]
    return before, added(), report["Sun"], fluxes


def test_the_sun_is_found_and_taken_out_of_what_sees_it(made):
    before, after, sun, _ = made
    assert sun["removed"]
    # amplitude 1 + 0.3 sin(2 pi t / 4 minutes) over 1.72 minutes: at worst 0.3 sin(x) / x = 0.22 from 1, x = 0.43 pi
    assert sun["mean_jy"] == pytest.approx(SUN_JY, rel=0.22)
    # neighbours and next but one in the arm, and what foreshortening adds
    assert 37 <= sun["baselines"] < 0.3 * sun["baselines_all"]
    assert before > 5.0
    # what is left is below the noise of one visibility (2500 Jy / sqrt(2 * 3.9 MHz * 12.9 s) in each part)
    noise = 2500.0 / np.sqrt(2 * 3.90625e6 * 12.884902) * np.sqrt(2)
    assert after < 0.5 * noise
    assert after < 0.02 * before


def test_the_flux_of_the_field_is_that_without_the_sun(made):
    *_, (without, with_it) = made
    # the same noise is in both; of the Sun 1 % is left on a quarter of the baselines, which couples by 10⁻³ at most
    assert with_it == pytest.approx(without, abs=2e-3)
