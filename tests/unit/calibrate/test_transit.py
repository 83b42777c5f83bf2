"""Caltables against the gains that made the data, against CASA on the full data, and against bad data."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import Sky, Truth, full_gain, make_calibrator_ms
from contimg.calibrate import average, transit, transits
from contimg.calibrate.model import DriftModel
from contimg.calibrate.options import CalibrationOptions
from contimg.calibrate.refant import choose_refant
from contimg.core import casa
from contimg.core.errors import ConfigError, Rejected
from contimg.gains.tables import read_gains, read_solutions
from contimg.telescope.beam import AiryBeam
from contimg.telescope.options import BeamOptions

OPTIONS = CalibrationOptions(uvmin_klambda=0.2, min_antennas=5)
NAMES = ["3", "1", "7", "2", "8", "103", "10", "12", "5", "104"]  # on purpose not index + 1
DEAD = 4
REFERENCE = NAMES.index("103")


def solve(truth: Truth, folder: Path, options: CalibrationOptions = OPTIONS, others=()) -> dict:
    """Solve into `folder`/cal."""
    for name in ("cal", "scratch"):
        (folder / name).mkdir()
    return transit.solve_transit(
        truth.path,
        folder / "cal",
        calibrator=truth.calibrator,
        others=list(others),
        options=options,
        beam=BeamOptions(),
        scratch=folder / "scratch",
        threads=2,
        log=folder / "casa.log",
    )


def true_gain(truth: Truth) -> np.ndarray:
    """Gain averaged over the transit, as one solution over all of it sees it, (nant, nchan, 2)."""
    return np.mean([full_gain(truth, i) for i in range(truth.meta.n_times)], axis=0)


def compare(found: np.ndarray, expected: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude ratio less 1, and phase difference (rad), each hand's phases relative to the reference
    antenna."""

    def referred(gain: np.ndarray) -> np.ndarray:
        return gain * np.exp(-1j * np.angle(gain[REFERENCE]))

    ratio = (referred(found) / referred(expected))[good]
    return np.abs(ratio) - 1, np.angle(ratio)


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A transit at good signal-to-noise, one antenna dead, a little phase drift; solved."""
    folder = tmp_path_factory.mktemp("solved")
    truth = make_calibrator_ms(folder / "cal.ms", names=NAMES, dead=(DEAD,), sigma=0.3, drift_deg=1.0)
    return truth, folder, solve(truth, folder)


def test_recovered_gains_are_the_true_ones_within_the_noise(solved):
    truth, folder, record = solved
    assert record["status"] == "ok"
    gains = read_gains(folder / "cal", truth.meta)
    amplitude, phase = compare(gains.at(0), true_gain(truth), gains.good)
    # One antenna's gain in one channel has the relative error σ / (|g_a g_b| S √(N_t (N_ant − 1))) on 12
    # integrations and 8 partners; the weakest product of gains is 0.36. The reference antenna's own error
    # adds in the phases: √2 more. 5 sigma for the largest of 576 values.
    error = truth.sigma / (0.36 * 7.9 * np.sqrt(12 * 8))
    assert np.abs(amplitude).max() < 5 * error
    assert np.abs(phase).max() < 5 * np.sqrt(2) * error
    # The typical gain is 1.1: the rms is what that gives, with √(1 + 1) for reference and antenna in phase.
    typical = truth.sigma / (1.1**2 * 7.9 * np.sqrt(12 * 8))
    assert np.std(amplitude) < 2 * typical
    assert np.std(phase) < 2 * np.sqrt(2) * typical
    # Systematic part: 576 values share it; drift of 1° costs 1.5e-4 of the amplitude.
    assert abs(np.mean(amplitude)) < 5e-4


def test_gains_in_time_of_phases_alone_and_no_delays(tmp_path):
    truth = make_calibrator_ms(tmp_path / "cal.ms", names=NAMES, sigma=0.1, drift_deg=6.0)
    settings = {"gain_solint": 60.0, "gain_calmode": "p", "solve_delay": False, "time_average_s": 0.0}
    record = solve(truth, tmp_path, OPTIONS.model_copy(update=settings))
    assert record["status"] == "ok", record["reason"]
    delays, gains = (read_solutions(tmp_path / "cal" / name) for name in ("K", "G"))
    assert np.all(delays.values == 0.0)
    span_s = np.ptp(gains.times_mjd_s) + 60.0
    assert len(gains.times_mjd_s) >= 0.5 * span_s / 60.0 > 1
    np.testing.assert_allclose(np.abs(gains.values[~gains.flags]), 1.0, atol=1e-6)  # single precision of CASA
    # The bandpass has taken up the delays: together the tables are the true gains. One solution over the transit
    # would be off at the first integration by all that an antenna has drifted from the middle, against the reference;
    # the first of the minutes' solutions stands 24 s later, of 77 s to the middle: a third is left. The noise of a
    # channel's bandpass is 0.1 / (0.36 × 7.9 × √(12 × 9)) rad: 5 sigma.
    found = read_gains(tmp_path / "cal", truth.meta)
    referred = [gain * np.exp(-1j * np.angle(gain[REFERENCE])) for gain in (found.at(0), full_gain(truth, 0))]
    worst = np.abs(np.angle((referred[0] / referred[1])[found.good])).max()
    drifted = np.abs(truth.drift_rad[0] - truth.drift_rad[0, REFERENCE]).max()
    assert worst < drifted / 3 + 5 * 0.1 / (0.36 * 7.9 * np.sqrt(108))


def test_a_bandpass_or_gains_that_are_not_wanted_are_one(tmp_path):
    truth = make_calibrator_ms(tmp_path / "cal.ms", names=NAMES, sigma=0.1)
    solve(
        truth, tmp_path, OPTIONS.model_copy(update={"solve_bandpass": False, "max_phase_scatter_deg": 180.0})
    )
    band, gain = (read_solutions(tmp_path / "cal" / name) for name in ("BP", "G"))
    assert np.all(band.values == 1.0)
    assert np.ptp(np.abs(gain.values[~gain.flags])) > 0.1  # the antennas' strengths are in G
    for name in ("cal", "scratch"):
        shutil.rmtree(tmp_path / name)
    solve(truth, tmp_path, OPTIONS.model_copy(update={"solve_gains": False}))
    band, gain = (read_solutions(tmp_path / "cal" / name) for name in ("BP", "G"))
    assert np.all(gain.values == 1.0)
    assert np.ptp(np.abs(band.values[~band.flags])) > 0.1


def test_delays_are_the_true_ones_relative_to_the_reference_antenna(solved):
    truth, _, record = solved
    rows = record["metrics"]["antennas"]
    for k, name in enumerate(NAMES):
        if k == DEAD:
            continue
        expected = truth.delay_ns[k] - truth.delay_ns[REFERENCE]
        # The band is 62.5 MHz wide: bandpass phases that curve by 0.3 rad rms pull a delay by up to about
        # 0.3 rad / (2π 62.5 MHz) = 0.8 ns; BP takes up the difference.
        np.testing.assert_allclose(rows[name]["delay_ns"], expected, atol=1.5)


def test_a_dead_antenna_has_no_solutions_and_the_record_says_so(solved):
    truth, folder, record = solved
    gains = read_gains(folder / "cal", truth.meta)
    assert not gains.good[DEAD].any()
    row = record["metrics"]["antennas"][NAMES[DEAD]]
    assert row["flagged_fraction"] == row["data_flagged_fraction"] == 1.0
    assert record["metrics"]["n_antennas_solved"] == 9
    assert record["metrics"]["flagged_fraction"] == pytest.approx(0.1)


def test_record_tells_signal_to_noise_and_scatter(solved):
    truth, _, record = solved
    metrics = record["metrics"]
    # A baseline's mean over 12 × 32 × 2 visibilities, its two gains times 7.9 Jy. The delays, up to 40 ns
    # on a baseline, turn the phase by 0.5 rad from channel to channel, which lowers the estimate by up to 6
    # %; the rms gain that it sees is above the median one.
    strength = np.abs(np.delete(true_gain(truth), DEAD, axis=0)).mean(axis=(1, 2))
    product = np.median(np.outer(strength, strength)[np.triu_indices(9, 1)])
    assert metrics["snr_baseline"] == pytest.approx(
        product * 7.9 / truth.sigma * np.sqrt(12 * 32 * 2), rel=0.12
    )
    # Per bin of 6 integrations, 32 channels: noise σ / (S √192) = 0.16°, and the drift: 1° rms between
    # antennas at the ends of a line through 0, averaged in two bins at half of it, √2 for two antennas:
    # 0.7°.
    assert 0.2 < metrics["phase_scatter_deg"] < 1.2
    assert metrics["amplitude_scatter"] < 0.01
    assert metrics["residual_amplitude"] == pytest.approx(1.0, abs=2e-3)
    assert metrics["snr_bandpass"] > 50
    json.dumps(record, allow_nan=False)


def test_reference_antenna_named_103_is_not_the_one_with_an_index(solved):
    _, folder, record = solved
    assert record["metrics"]["refant"]["name"] == "103"
    assert "first healthy outrigger" in record["metrics"]["refant"]["reason"]
    with tables.table(str(folder / "cal" / "K"), ack=False) as delays:
        assert not delays.getcol("FPARAM")[REFERENCE].any()
    with tables.table(str(folder / "cal" / "K" / "ANTENNA"), ack=False) as antennas:
        assert antennas.getcol("NAME") == NAMES


def test_a_configured_reference_antenna_is_taken_by_name_where_names_look_like_indices(solved, tmp_path):
    truth, _, _ = solved
    record = solve(truth, tmp_path, OPTIONS.model_copy(update={"refant": "7"}))
    assert record["metrics"]["refant"]["name"] == "7"
    with tables.table(str(tmp_path / "cal" / "K"), ack=False) as delays:
        zero = [k for k, value in enumerate(delays.getcol("FPARAM")) if not value.any()]
    # The dead antenna's flagged solution is zero too.
    assert zero == sorted([NAMES.index("7"), DEAD])


def test_solutions_agree_with_those_of_casa_on_the_full_data_with_a_model(tmp_path):
    # The noise of 5 Jy on one DSA-110 baseline: SEFD/√(2 Δν t) = 6500 / √(2 · 1.95e6 · 12.9) = 0.92 Jy.
    truth = make_calibrator_ms(tmp_path / "cal.ms", names=NAMES, sky=Sky(flux_jy=5.0), sigma=0.92, n_ant=10)
    record = solve(truth, tmp_path, OPTIONS.model_copy(update={"refant": "103"}))
    assert record["status"] == "ok"
    full = _solve_full_data(truth, tmp_path)
    averaged = read_gains(tmp_path / "cal", truth.meta)
    both = averaged.good & full.good
    assert both.mean() > 0.99
    amplitude, phase = compare(averaged.at(0), full.at(0), both)
    assert np.sqrt(np.mean(amplitude**2)) < 0.01
    assert np.degrees(np.sqrt(np.mean(phase**2))) < 1.0


def _solve_full_data(truth, folder):
    """The same chain by CASA alone: MODEL_DATA with the drifting beam, all integrations, uvrange."""
    ms, out = folder / "full.ms", folder / "full"
    shutil.copytree(truth.path, ms)
    out.mkdir()
    model = DriftModel(truth.meta, truth.calibrator, [], AiryBeam(4.65))
    tables.addImagingColumns(str(ms), ack=False)
    with tables.table(str(ms), readonly=False, ack=False) as table:
        rows = np.repeat(model.apparent_jy[0], truth.meta.n_baselines, axis=0)[..., np.newaxis]
        table.putcol("MODEL_DATA", np.repeat(rows, 2, axis=2).astype(np.complex64))
    tasks = casa.casatasks(2, folder / "full.log")
    delay, phases, bandpass, gain = (str(out / name) for name in ("K", "P", "BP", "G"))
    common = {
        "vis": str(ms),
        "refant": "103",
        "minblperant": 4,
        "uvrange": f">{OPTIONS.uvmin_klambda}klambda",
    }
    tasks.gaincal(**common, caltable=delay, gaintype="K", solint="inf", minsnr=3)
    tasks.gaincal(**common, caltable=phases, calmode="p", solint="60s", minsnr=3, gaintable=[delay])
    tasks.bandpass(
        **common,
        caltable=bandpass,
        solint="inf",
        combine="scan",
        minsnr=5,
        fillgaps=3,
        gaintable=[delay, phases],
    )
    tasks.gaincal(**common, caltable=gain, calmode="ap", solint="inf", minsnr=3, gaintable=[delay, bandpass])
    return read_gains(out, truth.meta)


def test_a_neighbour_in_the_model_makes_the_solutions_better(tmp_path):
    sky = Sky(flux_jy=3.0, others=[(0.5, 0.4, 1.5)])
    truth = make_calibrator_ms(tmp_path / "cal.ms", sky=sky, names=NAMES, sigma=0.1, drift_deg=0.0)
    errors = {}
    for label, others in (("with", truth.others), ("without", [])):
        (tmp_path / label).mkdir()
        record = solve(truth, tmp_path / label, OPTIONS, others)
        gains = read_gains(tmp_path / label / "cal", truth.meta)
        amplitude, phase = compare(gains.at(0), true_gain(truth), gains.good)
        errors[label] = float(np.sqrt(np.mean(amplitude**2 + phase**2)))
        assert set(record["metrics"]["neighbours"]) == {source.name for source in others}
    # With it only the noise is left: √2 σ/(S √(12 · 9)) / |g|² ≈ 0.4 %, √2 more for the reference. Without, a
    # source of 1.5 Jy × beam 0.55 on 3 Jy, averaged over the baselines of an antenna and the time.
    assert errors["with"] < 0.012
    assert errors["without"] > 4 * errors["with"]


def test_a_transit_in_which_nothing_is_seen_is_rejected_with_the_reason(tmp_path, monkeypatch):
    truth = make_calibrator_ms(tmp_path / "cal.ms", sky=Sky(flux_jy=1e-4), sigma=1.0)
    ra_deg, dec_deg = (
        float(np.degrees(value)) for value in (truth.meta.phase_ra_rad, truth.meta.phase_dec_rad)
    )
    # 4.2 deg north: in the first sidelobe of a dish of 4.65 m, which has 1.0 to 1.7 % of 1000 Jy there
    monkeypatch.setattr(transits, "A_TEAM", {"A": (ra_deg, dec_deg + 4.2, 1000.0)})
    with pytest.raises(
        Rejected,
        match=r"no \w+ solution is good: the calibrator is not seen.*; 1\d\.\d Jy of Cas A, .* come through",
    ):
        solve(truth, tmp_path)


def test_a_transit_with_too_few_antennas_is_rejected_before_anything_is_solved(tmp_path):
    truth = make_calibrator_ms(tmp_path / "cal.ms", dead=(0, 1, 2, 3, 4, 5), n_times=2, n_chan=4)
    with pytest.raises(Rejected, match=r"4 antennas have data beyond 0.2 kλ, calibration.min_antennas 5"):
        solve(truth, tmp_path)
    assert not (tmp_path / "casa.log").exists()


def test_phases_that_run_away_are_rejected_but_the_tables_are_kept_for_the_eye(tmp_path):
    truth = make_calibrator_ms(tmp_path / "cal.ms", sigma=0.3, drift_deg=60.0, n_times=12)
    record = solve(truth, tmp_path, OPTIONS.model_copy(update={"time_average_s": 0.0}))
    assert record["status"] == "rejected"
    assert "calibrated phases scatter by" in record["reason"]
    assert "calibration.max_phase_scatter_deg 40" in record["reason"]
    assert {"K", "BP", "G", "solutions.png"} <= {path.name for path in (tmp_path / "cal").iterdir()}


# --- before CASA: the model, the average, the reference antenna ---------------------------------------------


def averaged(truth: Truth, out: Path, **changes) -> average.CalibratorData:
    """Average a synthetic transit, which is not smeared."""
    model = DriftModel(truth.meta, truth.calibrator, truth.others, AiryBeam(4.65), smearing=False)
    settings = {"uvmin_klambda": 0.2, "time_average_s": 60.0, "threads": 2, **changes}
    return average.average(truth.path, out, model, **settings)


def test_average_is_the_least_squares_estimate_of_the_unit_source_visibility(tmp_path):
    sky = Sky(flux_jy=2.0, others=[(0.4, -0.3, 1.0)])
    truth = make_calibrator_ms(
        tmp_path / "a.ms", n_ant=4, n_times=5, n_chan=3, sky=sky, correlations=(9, 10, 11, 12)
    )
    data = averaged(truth, tmp_path / "small.ms", uvmin_klambda=0.0)
    assert data.meta.correlations == (9, 12)
    n_bl = truth.meta.n_baselines
    with tables.table(str(truth.path), ack=False) as table:
        raw = table.getcol("DATA").reshape(5, n_bl, 3, 4)[..., [0, 3]]
    with tables.table(str(data.path), ack=False) as table:
        small, weight = table.getcol("DATA"), table.getcol("WEIGHT")
    model = DriftModel(truth.meta, truth.calibrator, truth.others, AiryBeam(4.65), smearing=False)
    for row, (a, b) in enumerate(zip(data.meta.ant1, data.meta.ant2, strict=True)):
        k = np.flatnonzero((truth.meta.ant1 == a) & (truth.meta.ant2 == b))[0]
        m = np.array([model.predict(i)[k] for i in range(5)]).astype(complex)
        expected = (raw[:, k] * m.conj()[..., None]).sum(axis=0) / (np.abs(m) ** 2).sum(axis=0)[:, None]
        np.testing.assert_allclose(small[row], expected, rtol=2e-5)  # single precision, sums of 5
        mean_norm = (np.abs(m) ** 2).sum(axis=0).mean() / truth.sigma**2
        np.testing.assert_allclose(weight[row], mean_norm, rtol=1e-5)


def test_division_by_the_model_leaves_the_product_of_the_gains(tmp_path):
    sky = Sky(flux_jy=4.0, others=[(0.6, 0.5, 2.0), (-0.7, 0.2, 1.0)])
    truth = make_calibrator_ms(
        tmp_path / "a.ms", n_ant=5, n_times=6, n_chan=8, sky=sky, sigma=1e-6, drift_deg=0.0
    )
    data = averaged(truth, tmp_path / "small.ms")
    gain = full_gain(truth, 0)
    with tables.table(str(data.path), ack=False) as table:
        small = table.getcol("DATA").reshape(data.meta.shape)
    expected = gain[data.meta.ant1] * gain[data.meta.ant2].conj()
    # Single precision in data, model and sums: a few 1e-7, times the largest model over its mean.
    np.testing.assert_allclose(small[0], expected, rtol=5e-6)


def test_flagged_data_do_not_enter_the_average(tmp_path):
    truth = make_calibrator_ms(tmp_path / "a.ms", n_ant=4, n_times=5, n_chan=3, sigma=1e-6, drift_deg=0.0)
    with tables.table(str(truth.path), readonly=False, ack=False) as table:
        data, flag = table.getcol("DATA"), table.getcol("FLAG")
        n_bl = truth.meta.n_baselines
        data[n_bl : 2 * n_bl] = np.nan
        flag[n_bl : 2 * n_bl] = True
        flag[:, 1] = True
        table.putcol("DATA", data)
        table.putcol("FLAG", flag)
    result = averaged(truth, tmp_path / "small.ms", uvmin_klambda=0.0)
    gain = full_gain(truth, 0)
    with tables.table(str(result.path), ack=False) as table:
        small, bad = table.getcol("DATA"), table.getcol("FLAG")
    expected = gain[result.meta.ant1] * gain[result.meta.ant2].conj()
    np.testing.assert_allclose(small[:, [0, 2]], expected[:, [0, 2]], rtol=5e-6)
    assert bad[:, 1].all()
    assert not bad[:, [0, 2]].any()
    np.testing.assert_allclose(result.unflagged, 0.8 * 2 / 3)


@pytest.mark.parametrize(
    ("n_times", "seconds", "lengths"),
    [
        (24, 60.0, [5, 5, 4, 5, 5]),
        (24, 0.0, [1] * 24),
        (24, 1e4, [24]),
        (5, 60.0, [5]),
        (12, 60.0, [6, 6]),
        (1, 60.0, [1]),
    ],
)
def test_time_bins_are_nearly_equal_and_cover_the_tile(n_times, seconds, lengths):
    bins = average.time_bins(np.full(n_times, 12.884902), seconds)
    assert [span.stop - span.start for span in bins] == lengths
    assert bins[0].start == 0
    assert bins[-1].stop == n_times


def test_short_baselines_and_autocorrelations_are_not_long(tmp_path):
    truth = make_calibrator_ms(tmp_path / "a.ms", n_times=1, n_chan=2)
    keep = np.flatnonzero(average.long_baselines(truth.meta, 2.0))
    positions = truth.meta.antenna_positions_m
    distance = np.linalg.norm(positions[truth.meta.ant2] - positions[truth.meta.ant1], axis=1)
    # A baseline shorter than 2 kλ on the ground cannot be longer in projection.
    assert distance[keep].min() > 2e3 * 0.2155
    assert 0 < keep.size < truth.meta.n_baselines
    assert keep.size + np.count_nonzero(truth.meta.ant1 == truth.meta.ant2) <= truth.meta.n_baselines


def test_faint_neighbours_are_left_out_of_the_model(tmp_path):
    sky = Sky(flux_jy=5.0, others=[(0.3, 0.0, 0.001), (0.3, 0.2, 0.5)])
    truth = make_calibrator_ms(tmp_path / "a.ms", n_ant=3, n_times=2, n_chan=2, sky=sky)
    model = DriftModel(truth.meta, truth.calibrator, truth.others, AiryBeam(4.65))
    assert [source.name for source in model.neighbours] == ["N1"]
    assert model.mean_apparent_jy.shape == (2,)


def test_a_crowded_field_is_in_the_model_as_a_whole(tmp_path):
    # eighty sources of 0.1 Jy within half power, each 2 % of the calibrator: what is left out of a model is taken up
    # by the gains, 2/N of each
    rng = np.random.default_rng(4)
    others = [(float(x), float(y), 0.1) for x, y in rng.uniform(-0.8, 0.8, (80, 2))]
    truth = make_calibrator_ms(
        tmp_path / "a.ms", n_ant=3, n_times=2, n_chan=2, sky=Sky(flux_jy=5.0, others=others)
    )
    model = DriftModel(truth.meta, truth.calibrator, truth.others, AiryBeam(4.65))
    assert len(model.neighbours) == 80
    power = model.mean_apparent_jy[1:] / 0.1
    assert power.max() <= 1.02  # of flux at 1.4 GHz, with index -0.7
    assert power.min() > 0.3


@pytest.fixture(scope="module")
def health(tmp_path_factory):
    """What the average says of ten healthy antennas, 103 and 104 among them."""
    folder = tmp_path_factory.mktemp("health")
    truth = make_calibrator_ms(folder / "a.ms", names=NAMES, n_times=5, n_chan=8)
    return averaged(truth, folder / "small.ms", uvmin_klambda=0.0)


def changed(data: average.CalibratorData, index: int, **values) -> average.CalibratorData:
    """A copy in which one antenna's statistics differ."""
    arrays = {name: getattr(data, name).copy() for name in values}
    for name, value in values.items():
        arrays[name][index] = value
    return replace(data, **arrays)


def test_automatic_reference_goes_to_the_next_outrigger_if_103_is_flagged(health):
    assert choose_refant(health, "auto", 4).name == "103"
    refant = choose_refant(changed(health, REFERENCE, unflagged=0.1), "auto", 4)
    assert (refant.name, refant.index) == ("104", NAMES.index("104"))
    assert refant.reason.startswith("first healthy outrigger after 103 (has 90 % of its data flagged); ")


def test_automatic_reference_passes_over_an_antenna_of_wild_amplitude(health):
    wild = changed(health, REFERENCE, amplitude=50.0)
    refant = choose_refant(wild, "auto", 4)
    assert refant.name == "104"
    assert "times the median amplitude" in refant.reason


def test_a_configured_reference_that_is_dead_is_replaced_and_that_is_said(health):
    refant = choose_refant(changed(health, 0, unflagged=0.0), "3", 4)
    assert refant.name == "103"
    assert refant.reason.startswith("in place of 3, which has no data: first healthy outrigger")


def test_array_without_outriggers_takes_the_healthiest_outer_antenna(health):
    names = [average.NAME_PREFIX + str(k) for k in range(10)]
    data = replace(health, meta=replace(health.meta, antenna_names=names))
    refant = choose_refant(data, "auto", 4)
    positions = health.meta.antenna_positions_m
    distance = np.linalg.norm(positions - np.median(positions, axis=0), axis=1)
    assert distance[refant.index] >= np.median(distance)
    assert refant.reason.startswith("healthiest of the outer antennas; ")
    flagged = changed(data, refant.index, unflagged=0.75)
    assert choose_refant(flagged, "auto", 4).index != refant.index


def test_a_reference_that_is_not_in_the_array_is_a_wrong_setting(health):
    with pytest.raises(ConfigError, match=r"calibration.refant: .* found '99'; write one of 3, 1, 7"):
        choose_refant(health, "99", 4)


def test_no_healthy_antenna_is_a_reason_to_reject(health):
    dead = replace(health, unflagged=np.zeros(10))
    with pytest.raises(Rejected, match=r"no antenna is fit .* 10 of 10 such as 3, which has no data"):
        choose_refant(dead, "auto", 4)
