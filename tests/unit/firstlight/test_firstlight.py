"""First light: a tile as the telescope is said to write it, and the same with each assumption wrong in turn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builders import altered_uvh5 as altered
from contimg.cli.main import main
from contimg.core.errors import InputError
from contimg.core.provenance import REPOSITORY
from contimg.firstlight.job import JSON, PAGE, FirstLight
from contimg.firstlight.options import FirstLightOptions
from contimg.simulate.night import simulate
from contimg.simulate.options import SimOptions, Source
from contimg.sky.catalog import Catalog

CALIBRATORS = REPOSITORY / "config" / "calibrators.csv"
SIDEREAL_RAD_S = 7.2921159e-5
ANTENNAS = (
    "1", "6", "13", "18", "24", "30", "36", "43", "48", "70", "75", "80", "86", "91", "95", "97", "102", "103",
)  # fmt: skip
STATED: dict = {
    "start": "2025-10-30",
    "transit_of": "0834+555",
    "dec_deg": 55.2,
    "n_integrations": 12,
    "n_subbands": 3,
    "n_channels": 16,
    "antennas": ANTENNAS,
    # 48 channels of 732 kHz: a delay is told up to 0.68 us, as much as raw correlations have within 600 m
    "band_high_hz": 1311.25e6 + 3 * 187.5e6 / 16,
    "sources": (Source("0834+555", 128.7287, 55.5725, 8.8, -0.4),),
    "field_density_per_deg2": 1.5,
    "band_slope_db": -6.0,
    "seed": 3,
}


@pytest.fixture(scope="module")
def stated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stated")
    simulate(SimOptions(**STATED), folder, threads=1)
    return folder


def look(folder: Path, **how: object) -> dict[str, dict]:
    found = FirstLight(folder, CALIBRATORS, Catalog(folder / "sources.csv"), **how).look()
    return {finding["name"]: finding for finding in found["findings"]}


def failing(found: dict[str, dict]) -> set[str]:
    return {name for name, finding in found.items() if finding["verdict"] == "not borne out"}


def test_a_tile_as_stated_bears_out_all_but_its_narrow_band(stated):
    found = look(stated)
    assert failing(found) == {"channels"}
    # gains are known to 1 %; half a Jansky of neighbours in a field of 8.8 Jy does the rest
    assert found["sefd"]["value"] == pytest.approx(6500, rel=0.05)
    assert found["radiometer"]["value"] == pytest.approx(1.0, abs=0.03)
    assert found["noise_band"]["value"] == pytest.approx(1.0, abs=0.1)  # noise passes through the electronics
    assert abs(found["channel_edges"]["value"]) < 4 * found["channel_edges"]["error"]
    assert abs(found["time"]["value"]) < 4 * found["time"]["error"]
    assert {"drift", "sign", "channel_order", "fringe_stop", "fringes", "hands_order"} <= {
        name for name, finding in found.items() if finding["verdict"] == "borne out"
    }


def test_a_burst_is_left_out_and_is_no_fault_of_beam_or_antennas(stated, tmp_path):
    simulate(SimOptions(**{**STATED, "rfi_bursts": 2}), tmp_path, threads=1)
    quiet, loud = look(stated), look(tmp_path)
    assert failing(loud) == failing(quiet)
    # ten of twelve integrations have the same source and noise in them: a tenth more error, and the same numbers
    assert loud["sefd"]["value"] == pytest.approx(6500, rel=0.05)
    assert abs(loud["time"]["value"]) < 4 * loud["time"]["error"]
    assert loud["time"]["error"] < 2 * quiet["time"]["error"]


def raw(files: list[Path]) -> None:
    altered.turn(files, altered.stopped_w)


def beside_the_meridian(files: list[Path]) -> None:
    altered.turn(files, lambda header: altered.stopped_w(header) - altered.stopped_w(header, 0.05))


def tracked(files: list[Path]) -> None:
    altered.turn(
        files, lambda header: altered.stopped_w(header) - altered.stopped_w(header, rate_rad_s=SIDEREAL_RAD_S)
    )


@pytest.mark.parametrize(
    ("change", "fails", "advice"),
    [
        (altered.conjugate, {"sign"}, "conjugate visdata"),
        (raw, {"fringe_stop"}, "raw correlations"),
        (beside_the_meridian, {"fringe_stop"}, "hour angle +"),  # 0.05 rad
        (tracked, {"drift"}, "meridian fringe stopper"),
        (altered.reverse_frequencies, {"channel_order"}, "inside files"),
        (lambda files: altered.swap_hands(files[:1]), {"hands_order"}, "exchange XX and YY at 1340"),
        (lambda files: altered.shift_antennas(files, 1), {"antenna_order"}, "the one +1 in the table"),
        (lambda files: altered.shift_times(files, 60.0), {"time", "clock"}, "add the opposite"),
    ],
    ids=["conjugated", "raw", "off-meridian", "tracked", "channels", "hands", "names", "times"],
)
def test_an_assumption_that_is_wrong_is_named(
    stated: Path, tmp_path: Path, change: Callable[[list[Path]], None], fails: set[str], advice: str
):
    folder = tmp_path / "wrong"
    shutil.copytree(stated, folder)
    change(sorted(folder.glob("*.hdf5")))
    found = look(folder)
    assert fails <= failing(found)
    assert advice in " ".join(found[name]["advice"] for name in fails)
    told = {"sign", "drift", "fringe_stop", "channel_order", "hands_order", "antenna_order"} - fails
    assert not told & failing(found)


def test_the_dish_its_squint_and_antennas_that_stand_elsewhere_are_measured(tmp_path):
    wrong = {
        "n_integrations": 24,
        "field_density_per_deg2": 0.0,
        "true_dish_diameter_m": 3.6,
        "beam_squint_ha_deg": 0.1,
        "moved_antennas": ("43:2:0:0",),
        "dead_antennas": ("86",),
        "rfi_lines_mhz": (1322.0,),
    }
    simulate(SimOptions(**{**STATED, **wrong}), tmp_path, threads=1)
    found = look(tmp_path)
    assert {"beam_width", "squint", "antenna_positions", "fringes", "interference"} <= failing(found)
    width, squint = found["beam_width"], found["squint"]
    assert abs(width["value"] - 3.6) < 4 * width["error"] < 0.5
    assert abs(squint["value"] - 0.2) < 4 * squint["error"] < 0.15  # X is 0.1 deg west, Y 0.1 deg east
    assert "43 (east +2.0" in found["antenna_positions"]["measured"]
    assert "without: 86" in found["fringes"]["measured"]
    assert "1322" in found["interference"]["advice"] or "1321" in found["interference"]["advice"]


def test_without_a_bright_source_fringes_are_not_told(tmp_path):
    quiet = {
        "sources": (),
        "transit_of": "",
        "start": "2025-10-30T03:00:00",
        "field_density_per_deg2": 0.0,
        "n_integrations": 3,
    }
    simulate(SimOptions(**{**STATED, **quiet}), tmp_path, threads=1)
    found = look(tmp_path, options=FirstLightOptions(min_flux_jy=5.0))
    assert found["fringes"]["verdict"] == "cannot be told"
    assert found["calibration"]["verdict"] == "not borne out"


def test_the_command_writes_page_and_numbers_and_says_what_fails(stated, tmp_path, capsys):
    out = tmp_path / "page"
    assert main(["firstlight", str(stated), "--output", str(out), "--subbands", "1"]) == 1  # the narrow band
    assert "not borne out" in capsys.readouterr().out
    written = json.loads((out / JSON).read_text())
    page = (out / PAGE).read_text()
    assert all(finding["name"] in page for finding in written["findings"])
    assert len(written["antennas"]) == len(ANTENNAS)
    assert np.isfinite([row["sefd_x_jy"] for row in written["antennas"]]).all()


def test_an_empty_directory_is_said(tmp_path):
    with pytest.raises(InputError, match="no tile to look at"):
        FirstLight(tmp_path, CALIBRATORS).look()
