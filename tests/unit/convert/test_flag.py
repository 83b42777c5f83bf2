"""Flagging against injected truth: interference, dead and wild antennas, and what must stay."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from contimg.convert import flag, flag_stats, waterfall
from contimg.convert.flag import Flagger
from contimg.convert.flag_plot import plot_flags
from contimg.convert.options import FlaggingOptions
from contimg.core.errors import ConfigError, SystemFault
from contimg.ms.meta import MsMeta

FOLDER = Path(flag.__file__).parent
CHANNEL_HZ = 244140.625
NOISE_JY = 2.6  # of one component: 6500 Jy / sqrt(2 x 0.244 MHz x 12.9 s)


def make_meta(n_ant=6, n_times=24, n_chan=192):
    ant1, ant2 = np.triu_indices(n_ant)
    return MsMeta(
        tile="tile",
        times_jd=2460979.05 + np.arange(n_times) * 12.884902 / 86400,
        integration_s=np.full(n_times, 12.884902),
        antenna_names=[str(101 + i) for i in range(n_ant)],
        antenna_positions_m=np.zeros((n_ant, 3)),
        diameters_m=np.full(n_ant, 4.65),
        ant1=ant1,
        ant2=ant2,
        freq_hz=1.4e9 + np.arange(n_chan) * CHANNEL_HZ,
        channel_width_hz=CHANNEL_HZ,
        correlations=(9, 12),
        phase_ra_rad=1.0,
        phase_dec_rad=0.9,
        field_name="meridian",
        pointing_dec_rad=0.9,
        longitude_deg=-118.0,
        latitude_deg=37.0,
        height_m=1000.0,
        telescope_name="OVRO_MMA",
    )


def make_sky(meta, sources, *, seed=1):
    """Noise and point sources (Jy, delay on the longest baseline in ns, fringe rate in Hz), with a band ripple."""
    rng = np.random.default_rng(seed)
    data = NOISE_JY * (rng.normal(size=(*meta.shape, 2)) @ [1, 1j])
    length = np.abs(meta.ant2 - meta.ant1) / (len(meta.antenna_names) - 1)
    seconds = np.arange(meta.n_times) * 12.884902
    for flux, delay_ns, rate_hz in sources:
        turns = delay_ns * 1e-9 * meta.freq_hz[None, :] + rate_hz * seconds[:, None]
        fringe = np.exp(2j * np.pi * length[None, :, None] * turns[:, None, :])
        data += flux * fringe[..., None]
    return (data * ripple(meta)[:, None]).astype(np.complex64)


def ripple(meta):
    """The band's shape, (nchan,)."""
    return 1 + 0.05 * np.sin(2 * np.pi * meta.freq_hz / 90e6)


def run(meta, data, options, *, flags=None, present=None, threads=2):
    if present is None:
        present = np.ones(len(meta.freq_hz), dtype=bool)
    with Flagger(meta, options, present, threads) as flagger:
        flagger.flags[:] = (data == 0) if flags is None else flags

        def read_block(i, first, out):
            out[:] = data[i, first : first + len(out)]

        report = flagger.run(read_block)
        return flagger.flags.copy(), report


def completeness(flags, truth, meta):
    """Of the cross-correlations: the share of the injected that was flagged, and that of the rest."""
    cross = meta.ant1 != meta.ant2
    found, rest = flags[:, cross][truth[:, cross]], flags[:, cross][~truth[:, cross]]
    return found.mean(), rest.mean()


def inject(meta, data, *, line_jy=0.0, burst_jy=0.0, seed=2):
    """Add 4 persistent lines and a burst in one integration over a third of the band; return where."""
    rng = np.random.default_rng(seed)
    n_times, n_bl, n_chan, _ = meta.shape
    truth = np.zeros((n_times, n_bl, n_chan), dtype=bool)
    if line_jy:
        for channel in rng.choice(n_chan, 4, replace=False):
            phase = np.exp(2j * np.pi * rng.random((n_times, n_bl, 1)))
            data[:, :, channel] += (line_jy * phase).astype(np.complex64)
            truth[:, :, channel] = True
    if burst_jy:
        when, low = rng.integers(n_times), rng.integers(n_chan // 2)
        channels = slice(low, low + n_chan // 3)
        phase = np.exp(2j * np.pi * rng.random((n_bl, 1, 1)))
        data[when, :, channels] += (burst_jy * phase).astype(np.complex64)
        truth[when, :, channels] = True
    return truth


@pytest.mark.parametrize(("n_times", "n_chan"), [(24, 768), (24, 96), (5, 768)])
@pytest.mark.parametrize(
    ("line_jy", "burst_jy"), [(15.0, 0.0), (300.0, 0.0), (0.0, 15.0), (0.0, 100.0), (100.0, 100.0)]
)
def test_aoflagger_finds_lines_and_bursts_and_little_else(n_times, n_chan, line_jy, burst_jy):
    meta = make_meta(n_ant=4, n_times=n_times, n_chan=n_chan)
    data = make_sky(meta, [(2.0, 60.0, 1e-3), (0.7, -150.0, 2e-3)])
    truth = inject(meta, data, line_jy=line_jy, burst_jy=burst_jy)
    flags, _ = run(meta, data, FlaggingOptions(shared_fraction=1.0))
    found, false = completeness(flags, truth, meta)
    # 15 Jy is 4 times an amplitude's noise in one correlation; a stretch of several samples of it is certain.
    assert found > 0.95
    # What lies beside a stretch of flags is flagged on purpose, up to a tenth of it on either side in frequency.
    assert false < 0.01 + 0.2 * truth.mean()


@pytest.mark.parametrize(("n_times", "n_chan"), [(24, 768), (24, 48), (5, 48), (5, 768)])
@pytest.mark.parametrize(
    "sources",
    [
        [(8.8, 0.0, 0.0)],
        [(8.8, 30.0, 1e-3)],
        [(8.8, 0.0, 0.0), (3.0, 80.0, 1e-3), (2.0, -120.0, 2e-3), (1.5, 150.0, -2e-3), (1.0, -40.0, 5e-4)],
    ],
    ids=["calibrator at the centre", "calibrator in the beam", "field"],
)
def test_fringes_of_strong_sources_stay(sources, n_times, n_chan):
    meta = make_meta(n_ant=4, n_times=n_times, n_chan=n_chan)
    flags, report = run(meta, make_sky(meta, sources), FlaggingOptions())
    assert flags[:, meta.ant1 != meta.ant2].mean() < 0.02
    assert report.metrics["flag_fraction"] < 0.02


def uneven_line(meta, data, channel, strong):
    """Add a line of 300 Jy on the baselines `strong`, of 1 Jy (0.4 times the noise) on the others."""
    rng = np.random.default_rng(5)
    size = np.where(strong, 300.0, 1.0)[:, None]
    phase = np.exp(2j * np.pi * rng.random((meta.n_times, meta.n_baselines, 1)))
    data[:, :, channel] += (size * phase).astype(np.complex64)


@pytest.mark.parametrize(("part", "shared"), [(0.6, True), (0.2, False)])
def test_interference_on_most_baselines_is_flagged_on_all_and_on_few_on_those(part, shared):
    meta = make_meta(n_ant=8)
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    strong = np.zeros(meta.n_baselines, bool)
    strong[cross[: round(part * len(cross))]] = True
    data = make_sky(meta, [(2.0, 60.0, 1e-3)])
    uneven_line(meta, data, 100, strong)
    flags, report = run(meta, data, FlaggingOptions())
    assert flags[:, strong, 100].all()
    weak = flags[:, cross[round(part * len(cross)) :], 100].mean()
    assert weak == 1.0 if shared else weak < 0.05
    assert (report.metrics["flag_fraction_shared"] > 0) == shared
    assert flags[:, cross].mean() < 0.02


@pytest.mark.parametrize(("fraction", "shared"), [(0.8, True), (0.9, False), (1.0, False)])
def test_interference_is_shared_only_above_the_fraction_asked_for(fraction, shared):
    meta = make_meta(n_ant=8)
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    strong = np.isin(np.arange(meta.n_baselines), cross[:-4])
    data = make_sky(meta, [(2.0, 60.0, 1e-3)])
    uneven_line(meta, data, 100, strong)
    flags, report = run(meta, data, FlaggingOptions(shared_fraction=fraction))
    weak = flags[:, cross[-4:], 100].mean()  # of 28
    assert weak == 1.0 if shared else weak < 0.05
    assert (report.metrics["flag_fraction_shared"] > 0) == shared


@pytest.mark.parametrize("n_times", [5, 24])
def test_sharing_takes_little_of_the_good_data(n_times):
    meta = make_meta(n_ant=8, n_times=n_times, n_chan=768)
    data = make_sky(meta, [(2.0, 60.0, 1e-3), (0.7, -150.0, 2e-3)])
    truth = inject(meta, data, line_jy=100.0, burst_jy=100.0)
    flags = [run(meta, data, FlaggingOptions(shared_fraction=part))[0] for part in (0.5, 1.0)]
    (found, false), (_, false_alone) = (completeness(one, truth, meta) for one in flags)
    assert found == 1.0
    # beside a stretch AOFlagger flags on some baselines one sample more than on others; most have it, or none
    assert 0 <= false - false_alone < 0.002


def test_what_files_flag_on_most_baselines_says_nothing_of_the_others():
    meta = make_meta(n_ant=8)
    cross = np.flatnonzero(meta.ant1 != meta.ant2)
    data = make_sky(meta, [(2.0, 60.0, 1e-3)])
    from_file = np.zeros(meta.shape, bool)
    from_file[:, cross[: int(0.8 * len(cross))], 40:60] = True
    flags, _ = run(meta, data, FlaggingOptions(), flags=from_file)
    assert flags[:, cross[int(0.8 * len(cross)) :], 40:60].mean() < 0.02


def test_the_outcome_does_not_depend_on_the_number_of_processes():
    meta = make_meta()
    data = make_sky(meta, [(2.0, 60.0, 1e-3)])
    inject(meta, data, line_jy=20.0, burst_jy=20.0)
    one, _ = run(meta, data, FlaggingOptions(), threads=1)
    two, _ = run(meta, data, FlaggingOptions(), threads=2)
    np.testing.assert_array_equal(one, two)


def test_autocorrelations_bands_and_named_antennas_are_flagged():
    meta = make_meta()
    low_mhz = meta.freq_hz[50] / 1e6
    options = FlaggingOptions(
        aoflagger=False, flag_antennas=["103"], rfi_bands_mhz=[[low_mhz - 0.01, low_mhz + 0.01]]
    )
    flags, report = run(meta, make_sky(meta, []), options)
    cross = meta.ant1 != meta.ant2
    named = (meta.ant1 == 2) | (meta.ant2 == 2)
    assert flags[:, ~cross].all()
    assert flags[:, named].all()
    rest = flags[:, cross & ~named]
    assert rest[:, :, 50].all()
    assert rest.sum() == rest[:, :, 50].size
    assert report.metrics["dead_antennas"] == {"103": "configured"}


def test_an_antenna_without_signal_is_dead_and_its_neighbours_are_not():
    meta = make_meta()
    data = make_sky(meta, [])
    data[:, (meta.ant1 == 4) | (meta.ant2 == 4)] = 0
    flags, report = run(meta, data, FlaggingOptions(aoflagger=False))
    assert list(report.metrics["dead_antennas"]) == ["105"]
    assert report.metrics["dead_antennas"]["105"].startswith("dead: 100.0 %")
    assert not flags[:, (meta.ant1 == 0) & (meta.ant2 == 1)].any()


def test_missing_subbands_make_no_antenna_dead():
    meta = make_meta(n_chan=192)
    present = np.zeros(192, dtype=bool)
    present[:4] = True
    data = make_sky(meta, [])
    data[:, :, ~present] = 0
    _, report = run(meta, data, FlaggingOptions(aoflagger=False), present=present)
    assert report.metrics["dead_antennas"] == {}
    assert report.metrics["flag_fraction_by_antenna"]["101"] == 0.0
    assert report.rejected is None


@pytest.mark.parametrize("factor", [0.02, 50.0])
def test_an_antenna_of_wild_amplitude_is_flagged_with_its_factor(factor):
    meta = make_meta(n_ant=8, n_chan=96)
    data = make_sky(meta, [(5.0, 0.0, 0.0)])
    gain = np.exp(np.random.default_rng(4).normal(scale=0.1, size=8))
    gain[3] *= factor
    data *= (gain[meta.ant1] * gain[meta.ant2])[None, :, None, None].astype(np.float32)
    _, report = run(meta, data, FlaggingOptions(aoflagger=False))
    assert list(report.metrics["dead_antennas"]) == ["104"]
    assert report.metrics["dead_antennas"]["104"].startswith("amplitude")


def test_antennas_that_differ_by_tens_of_per_cent_stay():
    meta = make_meta(n_ant=8, n_chan=96)
    data = make_sky(meta, [])
    gain = np.ones(8)
    gain[3] = 1.5  # the other seven agree, which must not make a wild one of it
    data *= (gain[meta.ant1] * gain[meta.ant2])[None, :, None, None].astype(np.float32)
    _, report = run(meta, data, FlaggingOptions(aoflagger=False))
    assert report.metrics["dead_antennas"] == {}


def test_weights_are_the_inverse_variance_of_the_noise_whatever_the_sky():
    meta = make_meta(n_ant=6, n_chan=192)
    data = make_sky(meta, [(8.8, 40.0, 1e-3), (3.0, -100.0, 1e-3)])
    gain = np.array([0.5, 0.8, 1.0, 1.2, 1.5, 2.0])
    data *= (gain[meta.ant1] * gain[meta.ant2])[None, :, None, None].astype(np.float32)
    _, report = run(meta, data, FlaggingOptions(aoflagger=False))
    cross = meta.ant1 != meta.ant2
    typical = np.median(ripple(meta))
    expected = (NOISE_JY * typical * gain[meta.ant1] * gain[meta.ant2])[cross] ** -2.0
    # A baseline has 24 x 190 second differences, correlated over 3 channels, good to
    # 3 %; an antenna's factor is a median over 5 baselines: 5 % at 3 sigma for the product of two.
    np.testing.assert_allclose(report.weight[0, cross], np.stack([expected] * 2, axis=1), rtol=0.08)
    np.testing.assert_array_equal(report.weight, report.weight[:1].repeat(24, axis=0))


def test_an_integration_lost_to_interference_changes_no_weight_of_the_others():
    meta = make_meta(n_ant=12, n_times=12, n_chan=384)
    quiet = make_sky(meta, [(8.8, 40.0, 1e-3)])
    loud = quiet.copy()
    burst = np.random.default_rng(4).normal(size=(*loud[0].shape, 2)) @ [1, 1j]
    loud[0] += (100 * NOISE_JY * burst).astype(np.complex64)
    (_, without), (flags, report) = (run(meta, data, FlaggingOptions()) for data in (quiet, loud))
    assert flags[0].all()
    # An integration's factor of an antenna is from 11 x 384 correlated differences, good to 2 %, its weight's to
    # 3 %; their mean over 11 of 12 integrations moves by far less: 8 % is enough. The burst would make it 10^4 %.
    np.testing.assert_allclose(report.weight[1:], without.weight[1:], rtol=0.08)


def test_antenna_terms_are_found_in_spite_of_a_bad_baseline():
    ant1, ant2 = np.triu_indices(7, 1)
    terms = np.exp(np.random.default_rng(5).normal(size=7))
    values = terms[ant1] * terms[ant2]
    values[3] *= 100.0
    found = flag_stats.antenna_terms(values, ant1, ant2, 9)
    np.testing.assert_allclose(found[:7], terms, rtol=0.02)
    assert np.isnan(found[7:]).all()


def test_an_antenna_that_nobody_knows_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"flagging\.flag_antennas: 999"):
        run(make_meta(), make_sky(make_meta(), []), FlaggingOptions(flag_antennas=["999"]))


def test_a_strategy_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"flagging\.strategy: no file"):
        run(make_meta(), make_sky(make_meta(), []), FlaggingOptions(strategy=tmp_path / "none.lua"))


def test_a_strategy_that_fails_ends_the_job_and_not_the_machine(tmp_path):
    (tmp_path / "bad.lua").write_text("function execute(input)\n  aoflagger.no_such_step(input)\nend\n")
    with pytest.raises(SystemFault, match="flagging process ended"):
        run(make_meta(), make_sky(make_meta(), []), FlaggingOptions(strategy=tmp_path / "bad.lua"))


def test_baselines_without_a_gap_have_the_same_flags_in_less_time():
    from contimg.convert.flag_worker import Strategy

    meta = make_meta(n_ant=5)
    data = make_sky(meta, [(2.0, 60.0, 1e-3)])
    inject(meta, data, line_jy=15.0, burst_jy=15.0)
    with_gaps, whole = (str(FOLDER / name) for name in ("dsa110.lua", "dsa110_whole.lua"))
    known = np.zeros(data.shape, bool)
    known[:, ::2, 60:84] = True  # a subband is missing on half of the baselines
    ways = {"one": (with_gaps,), "both": (with_gaps, whole), "whole": (whole,)}
    flags = {name: known.copy() for name in ways}
    for name, files in ways.items():
        Strategy(*files).flag_block(data, flags[name])
    assert flags["both"][:, 1::2].mean() > 0.01
    np.testing.assert_array_equal(flags["both"], flags["one"])
    # The plain search does not step over a gap: it may not be used there.
    assert (flags["whole"] != flags["one"]).any()


def test_the_sidecar_says_where_the_flags_are():
    meta = make_meta(n_ant=6, n_times=8, n_chan=64)
    east_m = np.array([0.0, 10.0, 60.0, 160.0, 560.0, 1360.0])
    meta = replace(meta, antenna_positions_m=np.stack([east_m, 0 * east_m, 0 * east_m], axis=1))
    present = np.ones(64, bool)
    present[60:] = False
    data = make_sky(meta, [])
    data[:, :, ~present] = 0  # a subband that is missing
    data[5] = 0  # an integration lost by all
    sick = (meta.ant1 == 4) | (meta.ant2 == 4)
    data[:4, sick] = 0  # one antenna gone half of the time
    flags, report = run(meta, data, FlaggingOptions(aoflagger=False), present=present)
    metrics = report.metrics
    # 1 of 8 integrations; for the sick antenna 4 more.
    by_antenna = metrics["flag_fraction_by_antenna"]
    assert by_antenna["105"] == pytest.approx(5 / 8)
    assert by_antenna["101"] == pytest.approx(1 / 8 + 4 / 8 / 5)
    # 5 of 15 baselines are the sick antenna's.
    np.testing.assert_allclose(metrics["flag_fraction_by_time"], [1 / 3] * 4 + [0, 1, 0, 0])
    assert metrics["flag_fraction_by_subband"][15] == 1.0
    assert metrics["flag_fraction_by_subband"][0] == pytest.approx(1 / 8 + 4 / 8 / 3)
    cross = meta.ant1 != meta.ant2
    octaves = metrics["flag_fraction_by_length"]
    assert (octaves[0]["from_m"], octaves[0]["to_m"]) == (0.0, 50.0)
    length = np.abs(east_m[meta.ant2] - east_m[meta.ant1])
    for octave in octaves:
        inside = cross & (length >= octave["from_m"]) & (length < octave["to_m"])
        assert octave["fraction"] == pytest.approx(flags[:, inside][:, :, present].mean())
    assert (
        sum(np.count_nonzero(cross & (length >= o["from_m"]) & (length < o["to_m"])) for o in octaves) == 15
    )


def test_the_picture_of_the_flags_shows_each_antenna_and_marks_the_dead():
    meta = make_meta(n_ant=6, n_times=4, n_chan=32)
    data = make_sky(meta, [])
    data[:, (meta.ant1 == 2) | (meta.ant2 == 2)] = 0
    _, report = run(meta, data, FlaggingOptions(aoflagger=False))
    antennas, subbands, times, lengths = plot_flags({"metrics": report.metrics}, "tile").axes
    heights = [bar.get_height() for bar in antennas.patches]
    np.testing.assert_allclose(heights, [20, 20, 100, 20, 20, 20])
    colours = [bar.get_facecolor() for bar in antennas.patches]
    assert [colour == colours[2] for colour in colours] == [False, False, True, False, False, False]
    assert [len(axes.patches) for axes in (subbands, times, lengths)] == [16, 4, 1]


def test_names_of_many_antennas_stand_upright_so_that_none_overlaps_the_next():
    def turned(n_ant):
        metrics = {
            "flag_fraction": 0.0, "flag_fraction_by_antenna": {str(100 + n): 0.0 for n in range(n_ant)},
            "dead_antennas": [], "flag_fraction_by_subband": [0.0] * 16, "flag_fraction_by_time": [0.0] * 24,
            "flag_fraction_by_length": [],
        }  # fmt: skip
        figure = plot_flags({"metrics": metrics})
        figure.canvas.draw()
        for axes in figure.axes[:3]:
            labels = [label.get_window_extent() for label in axes.get_xticklabels()]
            assert not any(one.x1 > two.x0 for one, two in pairwise(labels))
        return figure.axes[0].get_xticklabels()[0].get_rotation() == 90

    assert [turned(n_ant) for n_ant in (6, 28, 96, 110)] == [False, True, False, True]


def test_waterfalls_show_where_the_most_flagged_baselines_of_good_antennas_lost_what():
    meta = make_meta(n_ant=6, n_times=30, n_chan=96)
    data = make_sky(meta, [])
    data[:, (meta.ant1 == 2) | (meta.ant2 == 2)] = 0  # dropped: no baseline of it is shown
    one = np.flatnonzero((meta.ant1 == 0) & (meta.ant2 == 5))[0]
    other = np.flatnonzero((meta.ant1 == 3) & (meta.ant2 == 4))[0]
    data[:, one, 48:] = 0  # the upper half of its band
    data[:10, other, :32] = 0  # a third of time and band
    _, report = run(meta, data, FlaggingOptions(aoflagger=False))
    first, second = report.metrics["most_flagged_baselines"]  # no other baseline has a flag
    assert (first["baseline"], first["fraction"]) == ("101-106", 0.5)
    assert (second["baseline"], second["fraction"]) == ("104-105", pytest.approx(1 / 9))
    shown = waterfall.cells(first)
    assert shown.shape == (24, 48)
    np.testing.assert_array_equal(shown, np.broadcast_to(np.arange(48) >= 24, (24, 48)))
    expected = np.outer(np.arange(24) < 8, np.arange(48) < 16)  # 30 integrations in 24 rows: 10 of them in 8
    np.testing.assert_array_equal(waterfall.cells(second), expected)
    assert len(json.dumps(report.metrics["most_flagged_baselines"])) < 3000
    assert (
        len(plot_flags({"metrics": report.metrics}, "tile").axes) == 4 + 2 + 1
    )  # bars, waterfalls, colour bar


@pytest.mark.parametrize(
    ("value", "aoflagger"),
    [(1e20, True), (1e5, False), (1e30, False), (np.inf, False), (complex(np.nan, 3), False)],
)
def test_one_absurd_visibility_is_flagged_and_costs_nothing_else(value, aoflagger):
    """A flipped bit of an exponent: squares of single precision end at 1.8e19, and the search passes over inf."""
    meta = make_meta(n_chan=64)
    clean = make_sky(meta, [(8.4, 20.0, 1e-3)])
    struck = clean.copy()
    struck[5, 1, 30, 0] = value
    reports, flags = [], []
    for data in (clean, struck):
        with Flagger(meta, FlaggingOptions(aoflagger=aoflagger), np.ones(64, bool), 1) as flagger:
            reports.append(
                flagger.run(
                    lambda i, first, out, data=data: out.__setitem__(..., data[i, first : first + len(out)])
                )
            )
            flags.append(flagger.flags.copy())
    assert flags[1][5, 1, 30, 0]
    # AOFlagger flags both hands together, and stretches by up to a fifth: the neighbours at most.
    assert (flags[1] != flags[0]).sum() <= (1 if not aoflagger else 12)
    assert reports[1].metrics["dead_antennas"] == reports[0].metrics["dead_antennas"] == {}
    # 1 of 24 x 62 second differences (3 that it is in) is gone: noise of an antenna moves by below a per cent
    np.testing.assert_allclose(reports[1].weight, reports[0].weight, rtol=0.02)


def test_absurd_values_of_a_few_channels_are_found_too():
    meta = make_meta(n_times=3, n_chan=8)
    data = make_sky(meta, [])
    data[1, 1, 3, 1] = 1e12
    flags = np.zeros(meta.shape, dtype=bool)
    assert flag_stats.flag_wild(data, flags, np.full((meta.n_baselines, 2), 1e23)) == 1
    assert flags[1, 1, 3, 1]
    assert data[1, 1, 3, 1] == 0
