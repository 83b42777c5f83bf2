"""Fluxes, slopes, places and errors of fitted sources, against simulated tiles whose truth is known."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from casacore import tables
from scipy import linalg

from builders.drift_tiles import average, simulated_ms, table_of
from contimg.core.errors import InputError, Rejected
from contimg.drift.data import StokesI
from contimg.drift.fit import fit, fit_data
from contimg.drift.normal import EAST, FLUX, NORTH, Limits, Problem, curvature
from contimg.drift.predict import DriftArray, PointSources
from contimg.drift.sources import COLUMNS
from contimg.drift.state import FitOptions
from contimg.drift.subtract import subtract
from contimg.ms.private import PrivateSet
from contimg.ms.sets import read_meta
from contimg.simulate.options import Source
from contimg.telescope.beam import AiryBeam

STEP, CHANNELS = 2, 24
BEAM = AiryBeam(4.65)


def field(count=24, seed=4):
    """A bright source and fainter ones at up to 1.6 deg round it."""
    rng = np.random.default_rng(seed)
    sources = [Source("bright", 130.0, 55.3, 8.8, -0.5)]
    for k in range(count):
        radius, angle = 1.6 * np.sqrt(rng.uniform()), 2 * np.pi * rng.uniform()
        ra = 130.0 + radius * np.sin(angle) / np.cos(np.radians(55.2))
        flux, index = float(0.3 * 10 ** rng.uniform(0, 0.8)), float(rng.normal(-0.7, 0.4))
        sources.append(Source(f"f{k:02d}", float(ra), float(55.2 + radius * np.cos(angle)), flux, index))
    return sources


@pytest.fixture(scope="module")
def sky():
    return table_of(field())


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A tile of 14 antennas and 6 integrations with a twelfth of the telescope's noise, averaged over channels."""
    folder = tmp_path_factory.mktemp("noisy")
    return average(
        simulated_ms(folder, field(), sefd_jy=550.0, n_channels=CHANNELS), folder / "average.ms", STEP
    )


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """The same without noise."""
    folder = tmp_path_factory.mktemp("exact")
    return average(
        simulated_ms(folder, field(), noise=False, n_channels=CHANNELS), folder / "average.ms", STEP
    )


def vaguely(sky, seed=2, arcsec=2.0):
    """What a catalogue might say: fluxes wrong by 20 %, places by some arcsec, no spectral index."""
    rng = np.random.default_rng(seed)
    table = sky.drop(columns="spectral_index")
    table["flux_jy"] *= rng.uniform(0.8, 1.2, len(table))
    table["ra_deg"] += rng.normal(0, arcsec / 3600, len(table)) / np.cos(np.radians(table["dec_deg"]))
    table["dec_deg"] += rng.normal(0, arcsec / 3600, len(table))
    return table


def pulls(table, truth, column, error, scale=1.0):
    """Fitted less true over the error, where there is an error."""
    difference = (table[column] - truth[column]) * scale / table[error]
    return difference[np.isfinite(difference)].to_numpy()


def test_fluxes_slopes_and_places_are_right_within_their_errors(noisy, sky):
    result = fit(noisy, vaguely(sky), beam=BEAM, freq_average=STEP, threads=2)
    table = result.table
    assert set(table) == set(COLUMNS)
    assert result.converged
    assert list(table["name"]) == list(sky["name"])
    cos_dec = np.cos(np.radians(sky["dec_deg"]))
    found = {
        "flux": pulls(table, sky, "flux_jy", "flux_err_jy"),
        "slope": pulls(table, sky, "spectral_index", "spectral_index_err"),
        "ra": pulls(table, sky, "ra_deg", "ra_err_arcsec", 3600 * cos_dec),
        "dec": pulls(table, sky, "dec_deg", "dec_err_arcsec", 3600.0),
    }
    for what, values in found.items():
        assert len(values) >= 12, what
        # the rms of n unit deviates is 1 ± 1/√(2n), n = 12 ... 25; 3.3 times that, and 4 sigma for a single one
        assert abs(np.sqrt(np.mean(values**2)) - 1) < 3.3 / np.sqrt(2 * len(values)), (what, values)
        assert np.abs(values).max() < 4, (what, values)
    ratio = table["flux_jy"] / sky["flux_jy"]
    strong = table["snr"] > 200
    assert strong.sum() >= 5
    # S/N > 200: errors below 0.5 %, their median over five or more sources below 0.3 %
    assert abs(np.median(ratio[strong]) - 1) < 0.005
    assert table["flux_jy"][0] == pytest.approx(8.8, rel=1e-3)
    # a median over 546 rows of 48 channels, which is 1 - 1/(3 · 48) for noise: ± 1.25/√(48 · 546) = 0.008
    assert result.noise_scale == pytest.approx(0.993, abs=0.03)
    # 2 x 6 x 4 x 4 residuals a source: reduced chi2 1 ± 0.1
    assert np.abs(table["chi2"] - 1).max() < 0.45
    assert result.clipped_fraction < 1e-4
    of_parts = []
    for k in range(1, 5):
        hz = table[f"band{k}_hz"].iloc[0]
        true = sky["flux_jy"] * (hz / 1.4e9) ** sky["spectral_index"]
        of_parts.append(((table[f"band{k}_jy"] - true) / table[f"band{k}_err_jy"]).dropna())
    assert table["band1_hz"].iloc[0] < table["band4_hz"].iloc[0]
    every = np.concatenate(of_parts)
    assert len(every) == 4 * (table["snr"] >= 20).sum()
    # the fit takes a flux, and of strong sources a slope and a place, from four parts: 0.7 to 1, ± 1/√(2 · 60)
    assert 0.6 < np.sqrt(np.mean(every**2)) < 1.3
    # a source's errors in the parts give back that of its flux, but for what it shares with others
    parts = 1 / np.sqrt(sum(table[f"band{k}_err_jy"] ** -2 for k in range(1, 5)))
    assert np.nanmax(parts / table["flux_err_jy"]) < 1.02
    assert np.nanmedian(parts / table["flux_err_jy"]) > 0.8


def test_without_noise_the_truth_is_found_exactly(exact, sky):
    # pure numbers have no noise to clip by: everything takes part
    options = FitOptions(
        clip_sigma=1e6, clip_row_sigma=1e12, slope_snr=0.0, place_snr=0.0, converged_sigma=1e-3
    )
    result = fit(exact, vaguely(sky, arcsec=0.5), beam=BEAM, freq_average=STEP, options=options, threads=2)
    # wide channels (3.9 MHz) average the spectrum's slope too, which the model takes at the centre
    np.testing.assert_allclose(result.table["flux_jy"], sky["flux_jy"], rtol=1e-4)
    np.testing.assert_allclose(result.table["dec_deg"], sky["dec_deg"], atol=0.02 / 3600)
    assert result.table["flux_jy"][0] == pytest.approx(8.8, rel=2e-5)


def test_result_is_that_of_the_full_normal_equations(noisy, sky):
    options = FitOptions(
        slope_snr=1e9, place_snr=1e9, converged_sigma=1e-4, clip_sigma=1e3, clip_row_sigma=1e9
    )
    found = fit(noisy, sky, beam=BEAM, freq_average=STEP, options=options, threads=2)
    meta = read_meta(noisy)
    array = DriftArray(meta, beam=BEAM, freq_average=STEP)
    unit = sky.assign(flux_jy=1.0)
    views = [array.view(PointSources.from_table(unit.iloc[[s]])) for s in range(len(sky))]
    normal, right = np.zeros((len(sky), len(sky))), np.zeros(len(sky))
    with StokesI(noisy) as data:
        for i in range(meta.n_times):
            vis, weight = data.read(i)
            root = np.sqrt(weight.astype(np.float64)).ravel()
            columns = np.stack([root * view.predict(i).ravel() for view in views])
            normal += (columns.conj() @ columns.T).real
            right += (columns.conj() @ (root * vis.ravel())).real
        chosen = np.arange(len(sky)), np.full(len(sky), FLUX)
        sampled = Problem(data, array).normal_matrix(array.view(PointSources.from_table(sky)), *chosen, None)
    expected = linalg.solve(normal, right, assume_a="pos")
    error = np.sqrt(np.diag(linalg.inv(normal)))
    # the same minimum, whatever the sample of the normal matrix; single precision of sums over 1e5 visibilities
    np.testing.assert_allclose(found.table["flux_jy"] / expected, 1.0, atol=2e-5)
    np.testing.assert_allclose(
        found.table["flux_err_jy"] / (error * np.sqrt(found.noise_scale)), 1.0, atol=0.05
    )
    size = np.sqrt(np.diag(normal))
    # samples: 12 of 48 channels of all 91 baselines and 6 integrations
    assert np.abs((sampled - normal) / np.outer(size, size)).max() < 0.05


def test_bad_visibilities_and_baselines_are_left_out(noisy, sky, tmp_path):
    shutil.copytree(noisy, tmp_path / "bad.ms")
    rng = np.random.default_rng(9)
    with tables.table(str(tmp_path / "bad.ms"), readonly=False, ack=False) as table:
        data = table.getcol("DATA")
        hit = rng.uniform(size=data.shape) < 0.003
        data[hit] += 300 * np.exp(2j * np.pi * rng.uniform(size=hit.sum())).astype(np.complex64)
        rows = rng.permutation(len(data))[:12]
        data[rows] *= np.complex64(3j)
        table.putcol("DATA", data)
    start = vaguely(sky, arcsec=0.5)
    clean = fit(noisy, start, beam=BEAM, freq_average=STEP, threads=2)
    found = fit(tmp_path / "bad.ms", start, beam=BEAM, freq_average=STEP, threads=2)
    # 0.6 % of the averages over the two hands and 2 % of the rows are bad; a few of the rows are autocorrelations
    assert 0.01 < found.clipped_fraction < 0.08
    change = (found.table["flux_jy"] - clean.table["flux_jy"]) / clean.table["flux_err_jy"]
    # losing a share x of the data moves a flux by √x = 0.2 of its error
    assert np.abs(change).max() < 1.0
    unclipped = FitOptions(clip_sigma=1e6, clip_row_sigma=1e12, place_snr=1e9)
    spoiled = fit(tmp_path / "bad.ms", start, beam=BEAM, freq_average=STEP, options=unclipped, threads=2)
    change = (spoiled.table["flux_jy"] - clean.table["flux_jy"]) / clean.table["flux_err_jy"]
    assert np.abs(change).max() > 5.0


def test_faint_sources_keep_the_place_and_slope_they_came_with(noisy, sky):
    options = FitOptions(slope_snr=1e4, place_snr=1e4)
    table = fit(noisy, sky, beam=BEAM, freq_average=STEP, options=options, threads=2).table
    faint = table["snr"] < 3e3
    assert faint.sum() > 15
    for column in ("ra_deg", "dec_deg", "spectral_index"):
        np.testing.assert_allclose(table.loc[faint, column], sky.loc[faint, column], rtol=1e-12)
    assert table.loc[faint, ["ra_err_arcsec", "spectral_index_err"]].isna().all(axis=None)


def test_the_band_tells_a_slope_whether_it_was_held_or_free(noisy, sky):
    """Of a held slope one step is told: what a free one comes to, to first order, with its error."""
    free = fit(noisy, sky, beam=BEAM, freq_average=STEP, options=FitOptions(slope_snr=20.0), threads=2).table
    # held at what is off by five errors, which a source of 30 σ that is held at -0.7 would be with a slope of 3.6
    off = 5.0 * free["band_slope_err"] * np.where(np.arange(len(sky)) % 2, 1.0, -1.0)
    wrong = sky.assign(spectral_index=sky["spectral_index"] + off)
    options = FitOptions(slope_snr=float(free["snr"].median()), band_snr=20.0)
    held = fit(noisy, wrong, beam=BEAM, freq_average=STEP, options=options, threads=2).table
    told = held["snr"] > 20
    assert held["band_slope"].notna().equals(told)
    still = told & held["spectral_index_err"].isna()
    assert still.sum() >= 8
    assert (~still & told).sum() >= 8
    np.testing.assert_array_equal(
        held.loc[told & ~still, "band_slope"], held.loc[told & ~still, "spectral_index"]
    )
    assert (held.loc[told & ~still, "band_score"] == 0).all()
    error = held["band_slope_err"][still]
    # second order: a flux that is off by a per cent scales both; the sample of the normal matrix is another
    np.testing.assert_allclose(error, free.loc[still, "band_slope_err"], rtol=0.05)
    assert np.abs((held["band_slope"] - free["band_slope"])[still] / error).max() < 0.3
    np.testing.assert_allclose(
        held["band_score"][still], (held["band_slope"] - wrong["spectral_index"])[still] / error
    )
    truth = sky.assign(band_slope=sky["spectral_index"])
    values = pulls(held[told], truth[told], "band_slope", "band_slope_err")
    # n unit deviates: rms 1 ± 1/√(2n)
    assert abs(np.sqrt(np.mean(values**2)) - 1) < 3.3 / np.sqrt(2 * len(values))


def test_subtracting_the_fit_leaves_the_noise_and_the_autocorrelations_do_not_matter(noisy, sky, tmp_path):
    shutil.copytree(noisy, tmp_path / "rest.ms")
    table = fit(noisy, vaguely(sky, arcsec=0.5), beam=BEAM, freq_average=STEP, threads=2).table
    subtract(PrivateSet(tmp_path / "rest.ms"), table, beam=BEAM, freq_average=STEP, threads=2)
    with tables.table(str(tmp_path / "rest.ms"), ack=False) as rest:
        data, flag, weight = (rest.getcol(name) for name in ("DATA", "FLAG", "WEIGHT_SPECTRUM"))
    normal = (data * np.sqrt(weight))[~flag]
    # 2 x 52416 deviates: 1 ± 0.0044
    assert np.mean(np.abs(normal) ** 2) / 2 == pytest.approx(1.0, abs=0.02)


def test_a_wrong_beam_shows_in_chi2(noisy, sky):
    right = fit(noisy, sky, beam=BEAM, freq_average=STEP, threads=2)
    wrong = fit(noisy, sky, beam=AiryBeam(4.2), freq_average=STEP, threads=2)
    assert wrong.chi2 > right.chi2 + 100
    # off the axis the beam's change in time and frequency tells; on the axis there is little of either
    off = (right.table["beam"] < 0.7) & (right.table["snr"] > 300)
    assert wrong.table.loc[off, "chi2"].max() > 2


def test_nothing_to_fit_and_nothing_to_fit_to_are_said(noisy, sky, tmp_path):
    with pytest.raises(InputError, match="no source to fit"):
        fit(noisy, sky.iloc[:0], beam=BEAM)
    shutil.copytree(noisy, tmp_path / "flagged.ms")
    with tables.table(str(tmp_path / "flagged.ms"), readonly=False, ack=False) as table:
        table.putcol("FLAG", np.ones_like(table.getcol("FLAG")))
    with pytest.raises(Rejected, match="no visibility is left to fit sources to"):
        fit(tmp_path / "flagged.ms", sky, beam=BEAM)


def test_two_sources_in_one_beam_are_called_blended(noisy, sky):
    close = sky.iloc[[1]].assign(name="twin", dec_deg=sky["dec_deg"][1] + 3 / 3600)
    table = fit(
        noisy, pd.concat([sky, close], ignore_index=True), beam=BEAM, freq_average=STEP, threads=2
    ).table
    blended = set(table.loc[table["flags"].str.contains("blended"), "name"])
    assert blended >= {"f00", "twin"}
    # together they hold the flux that is there
    pair = table["name"].isin(["f00", "twin"])
    assert table.loc[pair, "flux_jy"].sum() == pytest.approx(sky["flux_jy"][1], rel=0.05)


class Added:
    """Stokes I of a set with more sources in it."""

    def __init__(self, data, array, sources):
        self.data, self.meta = data, data.meta
        self.view = array.view(PointSources.from_table(sources))

    def read(self, i):
        vis, weight = self.data.read(i)
        return vis + self.view.predict(i), weight


def test_faint_sources_beside_each_other_come_to_rest(noisy, sky):
    """Three of 25 to 50 sigma within three beams, beginning 2 arcsec off: Gauss-Newton alone steps back and forth by
    ten errors for ever, as what is left bends χ² at their places as much as they do themselves."""
    array = DriftArray(read_meta(noisy), beam=BEAM, freq_average=STEP)
    to_ra = 1 / np.cos(np.radians(55.25))
    for seed in (0, 4):
        rng = np.random.default_rng(seed)
        place, flux = rng.uniform(-20, 20, (3, 2)) / 3600, 0.012 * rng.uniform(0.6, 1.4, 3)
        faint = pd.DataFrame({"name": ["a", "b", "c"], "flux_jy": flux, "spectral_index": -0.7})
        faint["ra_deg"], faint["dec_deg"] = 130.2 + place[:, 0] * to_ra, 55.25 + place[:, 1]
        start = faint.copy()
        start["ra_deg"] += rng.normal(0, 2 / 3600, 3) * to_ra
        start["dec_deg"] += rng.normal(0, 2 / 3600, 3)
        others = sky.assign(flux_jy=-sky["flux_jy"])
        with StokesI(noisy) as data:
            only = Added(data, array, pd.concat([others, faint], ignore_index=True))
            options = FitOptions(place_snr=5.0, slope_snr=1e9)
            found = fit_data(only, array, start, options=options)
        assert found.converged
        assert found.passes <= 8
        miss = found.table["flux_jy"] - faint["flux_jy"]
        chi2 = miss @ np.linalg.solve(found.covariance, miss)
        assert chi2 < 18.0  # of 3 degrees of freedom: 4 in 10 000


def test_steps_follow_the_second_derivatives_of_chi2(noisy, sky):
    """Against differences of the gradient, with 0.3 of its flux missing at each source's place."""
    array = DriftArray(read_meta(noisy), beam=None, freq_average=STEP)
    few = sky.iloc[:4].reset_index(drop=True)
    source, kind = np.repeat(np.arange(4), 3), np.tile([FLUX, EAST, NORTH], 4)
    with StokesI(noisy) as data:
        shown = Added(data, array, few)
        shown.read = lambda i: (1.3 * shown.view.predict(i), data.read(i)[1])
        problem = Problem(shown, array)
        here = PointSources.from_table(few)
        gradient = problem.sweep(array.view(here), Limits(), places=True).gradient
        normal = problem.normal_matrix(array.view(here), source, kind, None)
        second = normal + curvature(normal, gradient, here.flux_jy, source, kind)
        step = 0.02 / 3600 * np.pi / 180
        for s in range(4):
            moved = here.dec_rad.copy()
            moved[s] += step
            there = array.view(replace(here, dec_rad=moved))
            change = problem.sweep(there, Limits(), places=True).gradient - gradient
            at = 3 * s + 2
            # the sample of the normal matrix is good to some per mille
            assert -change[s, NORTH] / (step * here.flux_jy[s]) == pytest.approx(second[at, at], rel=0.02)
            assert second[at, at] == pytest.approx(1.3 * normal[at, at], rel=0.02)
