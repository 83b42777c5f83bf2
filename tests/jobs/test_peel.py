"""Cygnus A in the first sidelobe of a calibrator's transit: 27 Jy beside 7.5, taken out before the gains are solved."""

import numpy as np
import pytest
from scipy import special

from builders.transits import convert, solve
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.tables import read_gains
from contimg.ms.sets import read_meta
from contimg.simulate import SimOptions, Source, simulate
from contimg.sky.calibrators import Calibrator

ANTENNAS = ("1", "12", "24", "38", "51", "76", "88", "103", "106", "109", "112", "114", "116")
N_INTEGRATIONS, N_CHANNELS, BAND_HZ = 6, 8, 12.5e6
CALIBRATOR = Source("CAL", 299.868, 45.57, 12.0, -0.4)


@pytest.fixture(scope="module")
def transits(tmp_path_factory):
    """The same transit, gains and noise without Cyg A and with it: set, folder and record of each."""
    made = {}
    for name, a_team in (("alone", False), ("beside", True)):
        folder = tmp_path_factory.mktemp(name)
        options = SimOptions(
            start="2025-10-30",
            transit_of="CAL",
            dec_deg=45.0,
            n_integrations=N_INTEGRATIONS,
            n_subbands=2,
            n_channels=N_CHANNELS,
            band_low_hz=1390e6,
            band_high_hz=1390e6 + BAND_HZ,
            antennas=ANTENNAS,
            sources=(CALIBRATOR,),
            a_team=a_team,
            seed=5,
        )
        simulate(options, folder / "raw", threads=2)
        calibrator = Calibrator(
            "CAL", CALIBRATOR.ra_deg, CALIBRATOR.dec_deg, CALIBRATOR.flux_jy, -0.4, "simulated"
        )
        ms = convert(folder / "raw", calibrator, folder, 0)
        made[name] = (ms, folder, solve(ms, calibrator, folder, CalibrationOptions(), [], threads=1))
    return made


def test_with_cygnus_taken_out_gains_are_what_they_are_without_it(transits):
    gains = {}
    for name, (ms, folder, record) in transits.items():
        assert record["status"] == "ok", record["reason"]
        gains[name] = read_gains(folder / "cal", read_meta(ms))
    good = gains["alone"].good & gains["beside"].good
    assert good.sum() > 0.98 * gains["alone"].good.sum()
    ratio = (gains["beside"].at(3) / gains["alone"].at(3))[good]
    # A gain's noise in one channel, from 12 partners and 6 integrations: 1.7 %. Both have the same noise, and what is
    # left of Cyg A is below it: ratios scatter by less than gains, phases by √2 more for those of the reference.
    noise = 6500 / np.sqrt(2 * BAND_HZ / (2 * N_CHANNELS) * N_INTEGRATIONS * 12.9) / 10.3 / np.sqrt(12)
    assert np.std(np.abs(ratio)) < noise
    assert np.std(np.angle(ratio)) < np.sqrt(2) * noise
    # Twice that of a power; 13 antennas, 2 polarisations and 2 subbands err independently: 0.46 % of the flux scale.
    assert (np.abs(ratio) ** 2).mean() == pytest.approx(1, abs=2 * noise / np.sqrt(13 * 2 * 2))
    peeled = transits["beside"][2]["metrics"]["peeled"]
    assert peeled["Cyg A west"]["removed"]
    assert peeled["Cyg A east"]["removed"]
    # Airy's first sidelobe 4.2 deg from the pointing at 1.4 GHz: 1.7 % of 850 Jy
    x = np.pi * 4.65 * np.sin(np.radians(4.19)) / (299792458.0 / 1.4025e9)
    expected = 850 * (2 * special.j1(x) / x) ** 2
    assert peeled["Cyg A west"]["mean_jy"] == pytest.approx(expected, rel=0.03)


def test_where_nothing_comes_through_nothing_is_taken_out(transits):
    peeled = transits["alone"][2]["metrics"]["peeled"]
    assert {"Cyg A west", "Cyg A east"} < set(peeled)
    assert not any(entry["removed"] for entry in peeled.values())
