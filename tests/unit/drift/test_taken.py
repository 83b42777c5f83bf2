"""What a fit takes up of sources that it does not know, against the fit made with them in the data."""

import numpy as np
import pytest

from builders.drift_tiles import simulated_ms, table_of
from contimg.drift.data import AveragedI, StokesI
from contimg.drift.fit import fit_data
from contimg.drift.normal import Problem
from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.state import FitOptions
from contimg.drift.taken import DRAWS, probes
from contimg.simulate.options import Source
from contimg.telescope.beam import load_beam
from contimg.telescope.options import BeamOptions

FEW = ("1", "12", "25", "40", "51", "70", "95", "103", "112", "116")
RNG = np.random.default_rng(4)
SOURCES = tuple(
    Source(f"S{k}", 128.7 + RNG.uniform(-1.2, 1.2), 55.2 + RNG.uniform(-0.7, 0.7), 1.0, -0.7)
    for k in range(8)
)
KNOWN = table_of(SOURCES)
FAINT = 0.02
"""Of the points in no model, so that a step in place is small against the beam."""
OPTIONS = FitOptions(place_snr=0.0, slope_snr=1e9, shape_snr=1e9, converged_sigma=1e-3, probes=48)


class Added:
    """Data with points in them that the fit is not told of."""

    def __init__(self, data, array, points):
        self.data, self.meta, self.points = data, data.meta, array.view(points)

    def read(self, i):
        vis, weight = self.data.read(i)
        return (vis + FAINT * self.points.predict(i)).astype(np.complex64), weight

    def left(self, fit, array):
        """Part of the points that is left in the residuals, by natural weights."""
        model = array.view(PointSources.from_table(fit.table))
        top = bottom = 0.0
        for i in range(self.meta.n_times):
            vis, weight = self.read(i)
            shown = FAINT * self.points.predict(i)
            top += float(np.sum(weight * ((vis - model.predict(i)) * shown.conj()).real))
            bottom += float(np.sum(weight * np.abs(shown) ** 2))
        return top / bottom


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The data without noise, their array, and a way to fit them with the sources known."""
    folder = tmp_path_factory.mktemp("taken")
    tile = simulated_ms(folder, SOURCES, antennas=FEW, n_integrations=2, n_subbands=2, noise=False)
    with StokesI(tile) as data:
        coarse = AveragedI(data, 1)
        yield coarse, DriftArray(coarse.meta, beam=load_beam(BeamOptions()))


def test_sources_in_no_model_lose_what_the_fit_says(fitted):
    data, array = fitted
    said = fit_data(data, array, KNOWN, options=OPTIONS).taken
    lost = []
    for draw in range(DRAWS):
        points = probes(Problem(data, array), PointSources.from_table(KNOWN), OPTIONS.probes, draw)
        more = Added(data, array, points)
        lost.append(1.0 - more.left(fit_data(more, array, KNOWN, options=OPTIONS), array))
    # 24 parameters against 45 baselines and a few independent channels: some per cent
    assert 0.005 < said < 0.2
    # the normal matrix behind the errors is a sample of 2000 numbers: good to √(2 / 2000) and 24 / 2000 of itself
    assert said == pytest.approx(np.mean(lost), rel=0.1)


def test_more_sources_take_more_and_nothing_is_computed_unless_asked(fitted):
    data, array = fitted
    few, every = (fit_data(data, array, KNOWN.iloc[:n], options=OPTIONS).taken for n in (2, 8))
    quiet = FitOptions(place_snr=0.0, slope_snr=1e9, shape_snr=1e9)
    assert fit_data(data, array, KNOWN, options=quiet).taken == 0.0
    # a quarter of the parameters, each draw of the signs uncertain by some tenths
    assert 0.0 < few < 0.6 * every
