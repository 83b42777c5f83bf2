"""The simulator's files: header and data bit for bit, faults, seeds, truth, and the command."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from contimg.cli import simulate as command
from contimg.core.errors import ConfigError, InputError
from contimg.simulate import Fault, SimOptions, Source, night, preset, read_truth, signal, simulate
from contimg.simulate.options import FAULT_KINDS, PRESETS, Variation, from_dict, to_dict
from contimg.simulate.parse import parse_fault, parse_source, parse_variation
from contimg.simulate.sky import read_catalogue

SMALL = SimOptions(
    start="2025-10-30T13:00:00",
    dec_deg=-5.0,
    n_tiles=2,
    n_integrations=3,
    n_subbands=4,
    n_channels=5,
    antennas=("1", "51", "102", "103"),
    sources=(Source("a", 150.0, -5.2, 4.0, -0.7),),
    field_density_per_deg2=0.2,
    rfi_bursts=1,
    phase_drift="wander",
    seed=3,
)
TILE_S = 3 * 12.884902


def data_of(path: Path) -> str:
    with h5py.File(path) as file:
        return hashlib.sha256(file["Data/visdata"][()].tobytes()).hexdigest()


def times_of(path: Path) -> np.ndarray:
    with h5py.File(path) as file:
        return file["Header/time_array"][()]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return simulate(SMALL, tmp_path_factory.mktemp("small"))


def test_the_header_is_the_old_layout_of_the_fringe_stopper(small):
    with h5py.File(small.files(0)[0]) as file:
        header = file["Header"]
        strings = {k: header[k][()] for k in ("telescope_name", "instrument", "object_name", "phase_type")}
        assert strings == {
            "telescope_name": b"OVRO_MMA",
            "instrument": b"DSA",
            "object_name": b"search",
            "phase_type": b"drift",
        }
        assert header["latitude"][()] == pytest.approx(np.degrees(0.6498455107238486), abs=1e-13)
        assert header["longitude"][()] == pytest.approx(np.degrees(-2.064427799136453), abs=1e-13)
        assert header["altitude"][()] == 1188.0519
        assert header["phase_center_app_dec"][()] == np.radians(-5.0)
        counts = {k: int(header[k][()]) for k in header if k.startswith("N")}
        assert counts == {
            "Nants_data": 4,
            "Nants_telescope": 117,
            "Nbls": 10,
            "Nblts": 30,
            "Nfreqs": 5,
            "Npols": 2,
            "Nspws": 1,
            "Ntimes": 3,
        }
        assert (header["antenna_names"][()].astype(int) == header["antenna_numbers"][()] + 1).all()
        assert (header["antenna_diameters"][()] == 4.65).all()
        assert header["antenna_positions"].shape == (117, 3)
        assert list(header["ant_1_array"][:10]) == [0, 0, 0, 0, 50, 50, 50, 101, 101, 102]
        assert list(header["ant_2_array"][:10]) == [0, 50, 101, 102, 50, 101, 102, 101, 102, 102]
        assert header["uvw_array"].dtype == np.float32
        uvw = header["uvw_array"][()].reshape(3, 10, 3)
        assert (uvw == uvw[0]).all()  # toward (HA 0, dec): the same at every time
        times = header["time_array"][()].reshape(3, 10)
        assert (times == times[:, :1]).all()
        # JD in float64 is good to 4.7e-10 day
        assert np.diff(times[:, 0]) == pytest.approx(12.884902 / 86400, abs=1e-9)
        assert (header["integration_time"][()] == 12.884902).all()
        assert header["freq_array"].shape == (1, 5)
        assert (np.diff(header["freq_array"][0]) < 0).all()
        assert header["channel_width"][()] == 187.5e6 / 20
        assert list(header["polarization_array"]) == [-5, -6]
        assert list(header["spw_array"]) == [1]
        assert "lst_array" not in header
        extra = header["extra_keywords"]
        assert extra["phase_center_dec"][()] == np.radians(-5.0)
        assert extra["ha_phase_center"][()] == 0.0
        assert extra["phase_center_epoch"][()] == b"HADEC"
        assert {"fs_table", "applied_delays_ns"} <= set(extra)
        for name, kind in (("visdata", "<c8"), ("flags", "|b1"), ("nsamples", "<f4")):
            data = file["Data"][name]
            assert data.shape == (30, 1, 5, 2)
            assert data.dtype.str == kind
            assert data.chunks is not None
            assert data.compression is None
        assert not file["Data/flags"][()].any()
        assert (file["Data/nsamples"][()] == 1).all()


def test_the_full_band_has_the_channels_of_the_instrument():
    freq = np.concatenate([signal.subband_freq_hz(SimOptions(), s) for s in range(16)])
    assert freq[0] == 1498.6279296875e6
    assert freq[-1] == 1311.3720703125e6
    assert (np.diff(freq) == -244140.625).all()


def test_names_differ_by_seconds_while_time_arrays_are_the_same_bit_for_bit(tmp_path):
    truth = simulate(dataclasses.replace(SMALL, n_tiles=1, n_subbands=16, n_channels=1), tmp_path)
    seconds = {path.name[17:19] for path in truth.files(0)}
    assert len(seconds) > 1
    assert seconds <= {"00", "01", "02"}
    assert len({times_of(path).tobytes() for path in truth.files(0)}) == 1
    assert truth.tiles[0].name == "2025-10-30T13:00:00"


def test_tile_names_are_rounded_to_the_second_across_midnight():
    day = 60978  # 2025-10-30
    assert night.iso_second(day + (3600 + 0.4) / 86400) == "2025-10-30T01:00:00"
    assert night.iso_second(day + (3600 + 0.6) / 86400) == "2025-10-30T01:00:01"
    assert night.iso_second(day + (86400 - 0.4) / 86400) == "2025-10-31T00:00:00"


def test_tiles_follow_each_other_without_a_gap(small):
    first, second = (times_of(small.files(k)[0]) for k in (0, 1))
    assert second[0] - first[0] == pytest.approx(TILE_S / 86400, abs=1e-9)
    assert small.tiles[1].start_mjd - small.tiles[0].start_mjd == pytest.approx(TILE_S / 86400, abs=1e-9)


def test_newer_files_have_no_spectral_window_axis(tmp_path):
    options = dataclasses.replace(SMALL, n_tiles=1, n_subbands=1, spw_axis=False, n_polarizations=4)
    with h5py.File(simulate(options, tmp_path).files(0)[0]) as file:
        assert file["Data/visdata"].shape == (30, 5, 4)
        assert file["Header/freq_array"].shape == (5,)
        assert list(file["Header/polarization_array"]) == [-5, -7, -8, -6]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(small, tmp_path):
    again = simulate(SMALL, tmp_path / "again", threads=1)
    other = simulate(dataclasses.replace(SMALL, seed=4), tmp_path / "other")
    assert [data_of(p) for p in small.files(0)] == [data_of(p) for p in again.files(0)]
    assert again == small
    assert not {data_of(p) for p in small.files(0)} & {data_of(p) for p in other.files(0)}


def test_a_tile_does_not_depend_on_how_many_tiles_are_made(small, tmp_path):
    more = simulate(dataclasses.replace(SMALL, n_tiles=3, faults=(Fault("missing_tile", 0),)), tmp_path)
    assert more.tiles[0].files == ()
    assert [p.name for p in small.files(1)] == [p.name for p in more.files(1)]
    assert [data_of(p) for p in small.files(1)] == [data_of(p) for p in more.files(1)]
    assert small.tiles[1] == more.tiles[1]


def test_the_truth_comes_back_from_its_file(small):
    back = read_truth(small.directory)
    assert back == small
    assert read_truth(small.directory / "truth.json").files(0) == small.files(0)
    assert all(path.exists() for k in (0, 1) for path in back.files(k))
    on_disk = sorted(p.name for p in small.directory.glob("*.hdf5"))
    assert on_disk == sorted(n for t in small.tiles for n in t.files)
    table = (small.directory / "sources.csv").read_text().splitlines()
    assert table[0] == "name,ra_deg,dec_deg,flux_jy,spectral_index"
    assert len(table) == 1 + len(small.sources)


def test_a_truth_that_is_not_one_is_refused(tmp_path):
    (tmp_path / "truth.json").write_text('{"options": {}}')
    with pytest.raises(InputError, match="not a truth file"):
        read_truth(tmp_path)
    with pytest.raises(InputError, match="simulate the night first"):
        read_truth(tmp_path / "nowhere.json")


def make(tmp_path: Path, *faults: Fault):
    return simulate(dataclasses.replace(SMALL, n_tiles=1, faults=faults), tmp_path)


def of_subband(truth, subband: int) -> list[Path]:
    return [p for p in truth.files(0) if f"_sb{subband:02d}" in p.name]


def test_missing_duplicate_and_incomplete_files_are_as_asked(tmp_path):
    truth = make(
        tmp_path,
        Fault("missing_subband", 0, 0),
        Fault("duplicate_subband", 0, 1),
        Fault("incomplete", 0, 2),
        Fault("stale_incomplete", 0, 3),
    )
    assert of_subband(truth, 0) == []
    first, second = of_subband(truth, 1)
    seconds = [int(p.name[17:19]) for p in (first, second)]
    assert seconds[1] - seconds[0] == 7
    assert (times_of(first) == times_of(second)).all()
    (unfinished,) = of_subband(truth, 2)
    assert unfinished.name.endswith("_sb02_incomplete.hdf5")
    finished, stale = of_subband(truth, 3)
    assert stale.name == finished.name.replace(".hdf5", "_incomplete.hdf5")
    assert stale.stat().st_size < finished.stat().st_size
    data_of(finished)
    for broken in (unfinished, stale):
        with pytest.raises(OSError, match="truncated"):
            h5py.File(broken)
    by_kind = {f.kind: f.files for f in truth.tiles[0].faults}
    assert by_kind["missing_subband"] == ()
    assert by_kind["duplicate_subband"] == (first.name, second.name)
    assert by_kind["stale_incomplete"] == (stale.name,)


def test_unreadable_files_are_empty_cut_or_garbage_and_the_rest_is_untouched(small, tmp_path):
    truth = make(tmp_path, Fault("zero_length", 0, 0), Fault("truncated", 0, 1), Fault("garbage", 0, 2))
    empty, cut, garbage, whole = truth.files(0)
    assert empty.stat().st_size == 0
    assert cut.stat().st_size == int(0.6 * small.files(0)[1].stat().st_size)
    assert garbage.stat().st_size == 200_000
    for broken in (empty, cut, garbage):
        with pytest.raises(OSError, match=r"truncated|signature"):
            h5py.File(broken)
    assert data_of(whole) == data_of(small.files(0)[3])


def test_flagged_zero_and_misplaced_data_are_as_asked(small, tmp_path):
    truth = make(tmp_path, Fault("all_flagged", 0), Fault("all_zero", 0, 1), Fault("other_declination", 0, 2))
    for number, path in enumerate(truth.files(0)):
        with h5py.File(path) as file:
            assert file["Data/flags"][()].all()
            assert file["Data/visdata"][()].any() == (number != 1)
            expected = -8.0 if number == 2 else -5.0
            assert file["Header/phase_center_app_dec"][()] == np.radians(expected)
            assert file["Header/extra_keywords/phase_center_dec"][()] == np.radians(expected)
    assert data_of(truth.files(0)[0]) == data_of(small.files(0)[0])
    assert data_of(truth.files(0)[2]) != data_of(small.files(0)[2])


def test_files_that_are_there_are_not_overwritten_unless_asked(tmp_path):
    options = dataclasses.replace(SMALL, n_tiles=1, n_subbands=1)
    simulate(options, tmp_path)
    with pytest.raises(InputError, match="holds 1 raw files already"):
        simulate(options, tmp_path)
    moved = simulate(dataclasses.replace(options, start="2025-10-31T00:00:00"), tmp_path, overwrite=True)
    assert [p.name for p in tmp_path.glob("*.hdf5")] == list(moved.tiles[0].files)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_tiles": 0}, "n_tiles is 0"),
        ({"dec_deg": 95.0}, "dec_deg is 95"),
        ({"phase_drift": "maybe"}, "phase_drift is maybe"),
        ({"n_polarizations": 3}, "n_polarizations is 3"),
        ({"faults": (Fault("nonsense", 0),)}, "kind 'nonsense' is unknown"),
        ({"faults": (Fault("garbage", 7, 0),)}, "names tile 7"),
        ({"faults": (Fault("garbage", 0, 44),)}, "names subband 44"),
        ({"faults": (Fault("garbage", 0),)}, "needs a subband"),
        ({"faults": (Fault("missing_tile", 0, 1),)}, "takes no subband"),
    ],
)
def test_options_that_cannot_be_are_refused_with_the_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "yesterday"}, "start is 'yesterday'"),
        ({"transit_of": "nobody"}, "transit_of is 'nobody'"),
        ({"dead_antennas": ("77",)}, "dead_antennas 77 take no data"),
        ({"sick_antennas": ("77",)}, "sick_antennas 77 take no data"),
    ],
)
def test_nights_that_cannot_be_are_refused_before_anything_is_written(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        simulate(dataclasses.replace(SMALL, **changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_survive_json_and_unknown_ones_are_named():
    for options in PRESETS.values():
        assert from_dict(to_dict(options)) == options
    with pytest.raises(ConfigError, match="unknown option colour"):
        from_dict({"colour": "red"})


def test_the_demo_has_a_transit_outriggers_and_faults():
    demo = preset("demo")
    assert len(demo.antennas) >= 24
    assert {"103", "104", "105"} <= set(demo.antennas)
    assert (demo.n_tiles, demo.transit_tile, demo.n_subbands, demo.n_channels) == (5, 2, 16, 12)
    assert {f.kind for f in demo.faults} == {"missing_subband", "duplicate_subband", "stale_incomplete"}
    assert demo.transit_tile not in {f.tile for f in demo.faults}
    with pytest.raises(ConfigError, match="preset 'no' is unknown"):
        preset("no")


def test_the_demo_sky_has_two_dozen_sources_to_measure(tmp_path):
    demo = preset("demo")
    models = [night.tile_model(night.prepare(demo, tmp_path), k, demo.dec_deg) for k in range(demo.n_tiles)]
    inside = {}
    for model in models:
        flux = signal.apparent_flux(model, np.array([1.4e9])).mean(axis=(0, 1))
        inside |= {s.name: s for s, f in zip(model.sources, flux, strict=True) if f > 0.3 * s.flux_jy}
    field = [s.flux_jy for s in inside.values() if s.name.startswith("F")]
    assert 15 <= len(field) <= 25
    assert {"double-north", "double-south"} <= set(inside)
    assert sum(s.name.startswith("B") for s in inside.values()) > 100  # a faint sky beneath them
    assert max(field) > 1.0
    # 10 sigma of a tile of 12 integrations and 378 baselines, 12 mJy, at a beam of 0.3
    assert sum(f > 0.04 for f in field) == len(field)


def test_the_simulator_shares_no_code_with_the_pipeline():
    folder = Path(night.__file__).parent
    imported = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name and name.split(".")[0] == "contimg"}
    strange = {n for n in ours if not n.startswith(("contimg.simulate", "contimg.core.errors"))}
    assert "contimg.core.errors" in ours
    assert not strange


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(words))


def test_the_command_line_changes_single_options_of_a_preset(tmp_path):
    args = parse(
        *(str(tmp_path), "--preset", "demo", "--n-tiles", "6", "--no-noise", "--antennas", "1,2,36"),
        *("--rfi-lines-mhz", "1350.5", "--source", "x,1,2,3,-0.5", "--fault", "garbage:5:3"),
    )
    options = command.make_options(args)
    assert options.n_tiles == 6
    assert options.noise is False
    assert options.antennas == ("1", "2", "36")
    assert options.rfi_lines_mhz == (1350.5,)
    assert options.sources == (*preset("demo").sources, Source("x", 1.0, 2.0, 3.0, -0.5))
    assert options.faults == (*preset("demo").faults, Fault("garbage", 5, 3))
    assert options.dec_deg == preset("demo").dec_deg


def test_a_source_of_the_command_line_may_have_a_size():
    assert parse_source("x,1,2,3,-0.5,40") == Source("x", 1.0, 2.0, 3.0, -0.5, 40.0, 40.0)
    assert parse_source("x,1,2,3,-0.5,40,20,30") == Source("x", 1.0, 2.0, 3.0, -0.5, 40.0, 20.0, 30.0)
    with pytest.raises(ConfigError, match="MAJOR_ARCSEC"):
        parse_source("x,1,2,3,-0.5,40,20")


def test_the_truth_and_the_list_of_sources_know_sizes(tmp_path):
    source = Source("wide", 150.0, -5.2, 4.0, -0.7, 40.0, 20.0, 30.0)
    simulate(dataclasses.replace(SMALL, sources=(source,), n_tiles=1, field_density_per_deg2=0.0), tmp_path)
    assert read_truth(tmp_path).source("wide") == source
    assert read_catalogue(tmp_path / "sources.csv")[0] == source


def test_a_source_that_varies_does_so_in_the_tiles_of_its_dates_alone(tmp_path):
    steady = dataclasses.replace(
        SMALL, noise=False, rfi_bursts=0, field_density_per_deg2=0.0, transit_of="a", start="2025-10-30"
    )
    begin = [tile.name for tile in simulate(steady, tmp_path / "steady").tiles]
    variation = Variation("a", 0.5, begin[1], "2025-10-31")
    varying = dataclasses.replace(steady, variations=(variation,))
    truth = simulate(varying, tmp_path / "varying")
    assert from_dict(to_dict(varying)) == varying
    assert parse_variation(f"a, 0.5, {begin[1]}, 2025-10-31") == variation
    for tile, factor in zip(truth.tiles, (1.0, 0.5), strict=True):
        for name in tile.files:
            with (
                h5py.File(tmp_path / "steady" / name) as one,
                h5py.File(tmp_path / "varying" / name) as other,
            ):
                cross = one["Header/ant_1_array"][:] != one["Header/ant_2_array"][:]
                expected = factor * one["Data/visdata"][:][cross]
                # products of float32
                np.testing.assert_allclose(other["Data/visdata"][:][cross], expected, rtol=1e-6)
    assert truth.tiles[1].apparent_jy["a"] == pytest.approx(
        0.5 * read_truth(tmp_path / "steady").tiles[1].apparent_jy["a"]
    )
    with pytest.raises(ConfigError, match="none of the sources"):
        simulate(
            dataclasses.replace(steady, variations=(Variation("b", 0.5, begin[0], "2025-10-31"),)),
            tmp_path / "b",
        )
    with pytest.raises(ConfigError, match="from a time to a later one"):
        dataclasses.replace(steady, variations=(Variation("a", 0.5, "2025-10-31", "2025-10-30"),))


def test_the_command_writes_and_says_what_it_wrote(tmp_path, capsys):
    words = ["--n-integrations", "2", "--n-channels", "2", "--n-subbands", "2", "--antennas", "1,51,103"]
    faults = ["--fault", "zero_length:0:1"]
    assert command.run(parse(str(tmp_path / "out"), *words, *faults, "--source", "s,130,55,2")) == 0
    said = capsys.readouterr().out
    assert "2 files" in said
    assert "zero_length sb01" in said
    assert "2025-10-30T13:00:00" in said
    assert read_truth(tmp_path / "out").options.n_channels == 2


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_source, "x,1,2"),
        (parse_source, "x,1,2,y"),
        (parse_fault, "garbage"),
        (parse_variation, "x,half,2025-10-30,2025-10-31"),
    ],
)
def test_sources_and_faults_that_cannot_be_read_say_how_to_write_them(read, text):
    with pytest.raises(ConfigError, match="cannot be read; write"):
        read(text)


def test_every_fault_kind_is_tried_here():
    text = Path(__file__).read_text()
    assert all(f'Fault("{kind}"' in text for kind in FAULT_KINDS)
