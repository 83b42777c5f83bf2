import numpy as np
import pytest

from contimg.core.robust import mad_sigma, nanmedian


def test_the_scatter_of_normal_deviates_is_their_sigma_whatever_a_few_others_are():
    values = np.random.default_rng(3).normal(5.0, 2.0, 20000)
    # the error of a MAD is 1.17 σ / √n, 0.8 %: four of it
    assert mad_sigma(values) == pytest.approx(2.0, rel=0.033)
    assert mad_sigma(values - 5.0, about=0.0) == pytest.approx(2.0, rel=0.033)
    values[:200] = 1e9
    # 1 % of outliers move a quantile by so much of the density there: 1 % of 1 / (4 · 0.318 · 0.6745) = 1.2 %
    assert mad_sigma(values) == pytest.approx(2.0, rel=0.045)


def test_what_is_not_known_does_not_count():
    assert mad_sigma([1.0, np.nan, 2.0, 3.0]) == mad_sigma([1.0, 2.0, 3.0]) == 1.4826
    assert np.isnan(mad_sigma([np.nan]))
    assert np.isnan(mad_sigma([]))


def test_medians_along_axes_are_numpys_and_nan_where_nothing_is_known():
    values = np.random.default_rng(4).normal(size=(4, 5, 6, 2))
    values[1, :, 3] = np.nan
    values[2, 0] = np.nan
    np.testing.assert_array_equal(nanmedian(values, axis=(0, 2)), np.nanmedian(values, axis=(0, 2)))
    along = nanmedian(values, axis=1)
    assert np.isnan(along[1, 3]).all()
    known = np.isfinite(along)
    assert known.sum() == 4 * 6 * 2 - 2
    np.testing.assert_array_equal(along[0], np.median(values[0], axis=0))
    assert nanmedian(values, axis=(0, 1, 2, 3)) == np.nanmedian(values)
