"""Sources taken out of a set and put back into an image, against closed forms and against the fit's own prediction."""

import numpy as np
import pandas as pd
from astropy.io.fits import Header

from contimg.drift.subtract import restore

CELL_DEG = 10 / 3600


def header(size=201):
    head = Header()
    head["NAXIS"], head["NAXIS1"], head["NAXIS2"] = 2, size, size
    for axis, (name, value, cell) in enumerate(
        (("RA---SIN", 30.0, -CELL_DEG), ("DEC--SIN", 40.0, CELL_DEG)), start=1
    ):
        head[f"CTYPE{axis}"], head[f"CRVAL{axis}"], head[f"CDELT{axis}"] = name, value, cell
        head[f"CRPIX{axis}"], head[f"CUNIT{axis}"] = size // 2 + 1, "deg"
    head["BMAJ"], head["BMIN"], head["BPA"], head["RESTFRQ"] = 5 * CELL_DEG, 4 * CELL_DEG, 30.0, 1.3e9
    return head


def sources(**columns):
    return pd.DataFrame(
        {"ra_deg": [30.0], "dec_deg": [40.0], "flux_jy": [2.0], "spectral_index": [-0.7], **columns}
    )


def test_a_restored_source_has_its_apparent_flux_at_the_image_frequency():
    image, pb = np.zeros((201, 201), np.float32), np.full((201, 201), 0.6, np.float32)
    restored = restore(image, header(), pb, sources())
    expected = 2.0 * (1.3 / 1.4) ** -0.7 * 0.6
    np.testing.assert_allclose(restored[100, 100], expected, rtol=1e-6)
    # a Gaussian's sum over pixels is its peak times pi / (4 ln 2) times the axes in pixels
    np.testing.assert_allclose(restored.sum(), expected * np.pi / (4 * np.log(2)) * 5 * 4, rtol=1e-5)
    assert not image.any()


def test_sources_beyond_the_image_are_left_out_and_others_are_cut_at_its_edge():
    image, pb = np.zeros((201, 201), np.float32), np.ones((201, 201), np.float32)
    assert not restore(image, header(), pb, sources(dec_deg=[45.0])).any()
    edge = restore(image, header(), pb, sources(dec_deg=[40.0 + 100 * CELL_DEG]))
    assert edge[200, 100] > 1.9
