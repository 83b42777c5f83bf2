"""The part of a flux's error that noise does not show: what gains, bandpass and the beam's model do to all sources.

It goes with the flux, so it counts above a signal-to-noise ratio of some hundred, and it does not average down within a
mosaic. The error of the calibrator's own flux is not in it: that is common to all that was calibrated by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

GAINS_ERROR = 0.003
"""Of a flux that is fitted to the visibilities, against the truth of realistic nights (docs/photometry.md)."""
BEAM_WIDTH_ERROR = 0.005
"""Of the width of the primary beam."""
LEAST_RESPONSE = 1e-3


def relative_error(
    response: ArrayLike, gains_error: float = GAINS_ERROR, beam_width_error: float = BEAM_WIDTH_ERROR
) -> NDArray[Any]:
    """Relative error of a flux at a response of the power beam.

    A beam A = exp(−4 ln 2 (θ/w)²) changes by −2 ln A dw/w: 2 |ln A| times the error of its width.

    Parameters
    ----------
    response : (n,) float
        Of the peak; NaN counts as 1.
    gains_error, beam_width_error : float
        Of the flux; of the beam's width.

    Returns
    -------
    (n,) float
    """
    off = (
        2.0 * np.abs(np.log(np.maximum(np.nan_to_num(response, nan=1.0), LEAST_RESPONSE))) * beam_width_error
    )
    return np.asarray(np.hypot(gains_error, off))
