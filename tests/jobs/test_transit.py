"""From raw files to caltables: gains of a simulated night, and 3C286 as the VLA saw it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from casacore import tables

from builders.transits import convert, solve
from contimg.calibrate.model import DriftModel
from contimg.calibrate.options import CalibrationOptions
from contimg.gains.apply import apply_tile
from contimg.gains.tables import read_gains
from contimg.ms.sets import read_meta
from contimg.simulate import SimOptions, Source, simulate
from contimg.sky.calibrators import Calibrator, read_calibrators
from contimg.telescope.beam import AiryBeam

REALSKY = Path(__file__).parents[1] / "data" / "realsky"


ANTENNAS = ("3", "7", "15", "24", "33", "42", "51", "70", "80", "90", "102", "103", "104", "105")


def solved(folder: Path, *sources: Source, listed: float = 1.0, **options):
    """A transit of CAL over fourteen antennas: truth, set and record.

    A catalogue lists its neighbour as a point, with `listed` of its flux.
    """
    options = SimOptions(
        start="2025-10-30",
        transit_of="CAL",
        dec_deg=55.2,
        antennas=ANTENNAS,
        sources=sources,
        seed=5,
        **options,
    )
    truth = simulate(options, folder / "raw", threads=2)
    calibrator, neighbour = (
        Calibrator(s.name, s.ra_deg, s.dec_deg, s.flux_jy, s.spectral_index, "simulated")
        for s in truth.sources
    )
    ms = convert(folder / "raw", calibrator, folder, 0)
    neighbour = replace(neighbour, flux_jy=listed * neighbour.flux_jy)
    return truth, ms, solve(ms, calibrator, folder, CalibrationOptions(), [neighbour])


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A calibrator of 8.8 Jy, a 1.5 Jy source beside it; one antenna is dead."""
    folder = tmp_path_factory.mktemp("simulated")
    truth, ms, record = solved(
        folder,
        Source("CAL", 128.7287, 55.5725, 8.8, -0.4),
        Source("N", 129.6, 55.1, 1.5, -0.8),
        n_integrations=12,
        n_subbands=4,
        n_channels=24,
        dead_antennas=("15",),
        dead_mode="zeros",
        phase_drift="linear",
    )
    return truth, ms, folder, record


def test_gains_of_a_simulated_night_come_back_within_the_noise(simulated):
    truth, ms, folder, record = simulated
    assert record["status"] == "ok"
    assert list(record["metrics"]["neighbours"]) == ["N"]
    meta = read_meta(ms)
    gains = read_gains(folder / "cal", meta)
    order = [
        [a.name for a in truth.antennas].index(name) for name in meta.antenna_names if name in _used(truth)
    ]
    rows = [k for k, name in enumerate(meta.antenna_names) if name in _used(truth)]
    # The files hold V₁₂ of pyuvdata's sign, the set its conjugate: so are the gains.
    expected = truth.gains(meta.times_jd - 2400000.5, meta.freq_hz).mean(axis=0)[order].conj()
    found, good = gains.at(6)[rows], gains.good[rows]
    dead = [meta.antenna_names[k] for k in rows].index("15")
    assert not good[dead].any()
    alive = np.arange(len(rows)) != dead
    assert good[alive].mean() > 0.99
    reference = [meta.antenna_names[k] for k in rows].index(record["metrics"]["refant"]["name"])
    ratio = found / expected
    ratio *= np.exp(-1j * np.angle(ratio[reference]))
    ratio = ratio[good]
    # SEFD 6500 Jy, channels of 1.95 MHz, 12 × 12.9 s: 0.26 Jy on a baseline; over 12 partners (some baselines are
    # below 1 kλ) and 8.7 Jy 0.88 % of a gain, as much again in phase for the reference antenna. 1.5 times the
    # noise for the rms, 6 for the worst of 2400.
    noise = 6500 / np.sqrt(2 * 1.953125e6 * 12 * 12.9) / 8.7 / np.sqrt(12)
    assert np.std(np.abs(ratio)) < 1.5 * noise
    assert np.std(np.angle(ratio)) < 1.5 * np.sqrt(2) * noise
    assert np.abs(np.abs(ratio) - 1).max() < 6 * noise
    assert abs(np.abs(ratio).mean() - 1) < 2e-3


def test_without_a_catalogue_the_neighbour_is_found_with_its_flux(simulated, tmp_path):
    truth, ms, folder, record = simulated
    bright = truth.sources[0]
    calibrator = Calibrator(
        "CAL", bright.ra_deg, bright.dec_deg, bright.flux_jy, bright.spectral_index, "simulated"
    )
    blind = solve(ms, calibrator, tmp_path / "blind", CalibrationOptions(), None)
    assert blind["status"] == "ok"
    apparent = record["metrics"]["neighbours"]["N"]
    # Thirteen antennas would take up 2/13 = 15 % of it; what is left is within the noise of 78 baselines,
    # 6500 / √(2 · 187.5e6 · 12 · 12.9 · 2 · 78) = 2.2 mJy, and 1 % for the second order of the smearing.
    (found,) = blind["metrics"]["neighbours"].values()
    assert found == pytest.approx(apparent, rel=0.01, abs=3 * 0.0022)
    # The gains are as good as with the neighbour's true flux.
    meta = read_meta(ms)
    ours, theirs = (read_gains(where / "cal", meta) for where in (tmp_path / "blind", folder))
    ratio = (ours.at(6) / theirs.at(6))[ours.good & theirs.good]
    assert np.abs(ratio - 1).max() < 0.02
    assert np.sqrt(np.mean(np.abs(ratio - 1) ** 2)) < 0.003


def test_a_strong_neighbour_that_is_no_point_is_measured_with_its_size(tmp_path):
    """Half as bright as the calibrator, and a catalogue knows no sizes: as a point it takes 6 % of the gain of the
    outermost antenna, whose baselines do not see it. The flux that the catalogue gives is a fifth too high as well."""
    truth, ms, record = solved(
        tmp_path,
        Source("CAL", 128.7287, 55.5725, 4.0, -0.4),
        Source("N", 129.6, 55.1, 2.0, -0.8, major_arcsec=34.0, minor_arcsec=14.0, angle_deg=30.0),
        n_integrations=8,
        n_subbands=2,
        n_channels=12,
        sefd_jy=1500.0,
        listed=1.2,
    )
    assert record["status"] == "ok", record["reason"]
    meta = read_meta(ms)
    gains, names = read_gains(tmp_path / "cal", meta), [a.name for a in truth.antennas]
    rows = [meta.antenna_names.index(name) for name in names]
    expected = np.abs(truth.gains(meta.times_jd - 2400000.5, meta.freq_hz).mean(axis=0))
    ratio = np.where(gains.good[rows], np.abs(gains.at(4)[rows]) / expected, np.nan)
    # 1500 Jy, channels of 7.8 MHz, 8 × 12.9 s, 13 partners: 0.3 % of a gain in a channel; thrice that of the mean
    # of an antenna's 24 channels and polarisations, and 1 % for the share of the neighbour that the gains take up.
    of_antenna = np.nanmean(ratio, axis=(1, 2))
    assert np.abs(of_antenna - 1).max() < 0.012
    assert np.nanmean(ratio**2) == pytest.approx(1, abs=0.005)


def _used(truth) -> list[str]:
    return [antenna.name for antenna in truth.antennas]


def test_reference_antenna_of_the_simulated_night_is_the_outrigger_103(simulated):
    _, _, _, record = simulated
    assert record["metrics"]["refant"]["name"] == "103"


def test_3c286_calibrates_the_tile_beside_its_transit_to_half_a_per_cent(tmp_path):
    calibrator = read_calibrators(REALSKY / "calibrators.csv")[0]
    record = solve(
        convert(REALSKY / "incoming", calibrator, tmp_path, 0), calibrator, tmp_path, CalibrationOptions(), []
    )
    assert record["status"] == "ok"
    assert record["metrics"]["n_antennas_solved"] == record["metrics"]["n_antennas"] == 27
    assert record["metrics"]["flagged_fraction"] < 0.01
    assert record["metrics"]["phase_scatter_deg"] < 2
    assert record["metrics"]["amplitude_scatter"] < 0.02
    other = convert(REALSKY / "incoming", calibrator, tmp_path, 1)
    apply_tile(other, tmp_path / "cal", tmp_path / "applied.ms", freq_average=48, threads=2)
    meta = read_meta(tmp_path / "applied.ms")
    with tables.table(str(tmp_path / "applied.ms"), ack=False) as table:
        data, weight = (
            table.getcol(name).reshape(meta.shape)[:, :, 0] for name in ("DATA", "WEIGHT_SPECTRUM")
        )
    flux = (weight * data).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    apparent = DriftModel(meta, calibrator, [], AiryBeam(4.65)).apparent_jy[0].mean(axis=1)
    assert meta.n_times == 5
    # As it was once done by hand with CASA, the drifting beam takes 14.16 to 11.92 Jy.
    np.testing.assert_allclose(apparent, [14.16, 13.73, 13.22, 12.60, 11.91], atol=0.05)
    # The gains of the VLA hold for the minutes between, the beam of 4.65 m was put in exactly: half a per cent.
    np.testing.assert_allclose(flux.real, apparent, rtol=5e-3)
    np.testing.assert_allclose(flux.imag, 0, atol=0.05)
