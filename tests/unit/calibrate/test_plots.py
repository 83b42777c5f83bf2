"""What the page of a calibration shows: scales that follow the phases, and the gains that are left of its own data."""

from types import SimpleNamespace

import numpy as np
import pytest

from contimg.calibrate.plots import phase_reach
from contimg.calibrate.verdict import by_antenna


@pytest.mark.parametrize(
    ("largest", "reach"), [(0.0, 1.0), (0.3, 1.0), (20.0, 19.8), (150.0, 180.0), (np.nan, 1.0)]
)
def test_phases_are_scaled_to_what_they_show(largest, reach):
    # evenly spread from -largest to largest: 99 % of them lie within 0.99 of it
    assert phase_reach(np.linspace(-largest, largest, 20001)) == pytest.approx(reach, rel=1e-3)


def test_an_antennas_own_phase_is_left_of_its_baselines_with_the_sign_of_its_gain():
    # V = g1 g2* of four antennas of which the third is off by 8 degrees: of its three baselines the mean is its gain,
    # of each other antenna's a third of a baseline to it, with the other sign
    ant1, ant2 = np.triu_indices(4, 1)
    gain = np.exp(1j * np.radians([0.0, 0.0, 8.0, 0.0]))
    mean = np.repeat((gain[ant1] * gain[ant2].conj())[np.newaxis, :, np.newaxis], 2, axis=2)
    mean[0, (ant1 == 0) & (ant2 == 1), 1] = np.nan  # no data: it does not count
    meta = SimpleNamespace(ant1=ant1, ant2=ant2, antenna_names=tuple("abcde"))
    found = by_antenna(mean, meta)
    assert found.shape == (1, 5, 2)
    assert np.degrees(np.angle(found[0, 2])) == pytest.approx([8.0, 8.0])
    assert np.degrees(np.angle(found[0, 3, 0])) == pytest.approx(-8.0 / 3, rel=0.01)  # small angles add
    assert np.degrees(np.angle(found[0, 0, 1])) == pytest.approx(-4.0, rel=0.01)
    assert np.isnan(found[0, 4]).all()
