"""What gains and the beam's model add to the errors of fluxes."""

import numpy as np
import pytest

from contimg.drift.systematic import BEAM_WIDTH_ERROR, GAINS_ERROR, relative_error
from contimg.telescope.beam import airy_power


def test_a_beam_of_another_width_changes_a_flux_by_what_is_stated():
    angle, freq_hz = np.radians([0.0, 0.5, 1.0, 1.35]), 1.4e9
    power = airy_power(angle, freq_hz, 4.65)
    change = np.abs(airy_power(angle, freq_hz, 4.65 * (1 + BEAM_WIDTH_ERROR)) / power - 1.0)
    # the formula is a Gaussian beam's; an Airy one falls faster below its half power: a tenth more at 0.5
    np.testing.assert_allclose(relative_error(power, gains_error=0.0), change, rtol=0.12, atol=1e-9)


def test_gains_and_beam_add_in_quadrature_and_an_unknown_response_is_the_peak():
    half = 2.0 * np.log(2.0) * BEAM_WIDTH_ERROR
    assert relative_error([0.5])[0] == pytest.approx(np.hypot(GAINS_ERROR, half))
    assert relative_error([1.0, np.nan]).tolist() == pytest.approx([GAINS_ERROR] * 2)
