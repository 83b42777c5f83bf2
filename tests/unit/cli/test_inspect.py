"""What `contimg inspect` says of raw files."""

import json

import h5py
import pytest

from builders.uvh5_files import mjd, write_uvh5
from contimg.cli.main import main
from contimg.index.groups import GROWING

START = mjd("2025-10-30T13:00:00")


@pytest.fixture
def raw(tmp_path):
    return write_uvh5(tmp_path / "2025-10-30T13:00:01_sb00.hdf5", START)


def test_a_file_of_the_instrument_is_told_in_words(raw, capsys):
    assert main(["inspect", str(raw)]) == 0
    said = capsys.readouterr().out
    for words in (
        "tile       2025-10-30T13:00:00: 3 integrations of 12.8849 s",
        "band       1311.250 to 1311.738 MHz: 2 channels of 244.141 kHz, polarisations XX, YY",
        "3 antennas and 6 baselines in the file, at longitude",
        "declination 54.6000 deg",
        "phased to  hour angle 0 at the pointing",
        "reader     own\n",
    ):
        assert words in said
    assert "odd " not in said


def test_what_is_odd_and_who_reads_it_is_told_as_json(raw, capsys):
    with h5py.File(raw, "r+") as file:
        values = file["Data/visdata"][()]
        whole = [("r", "<i4"), ("i", "<i4")]
        del file["Data/visdata"], file["Header/antenna_diameters"]
        file["Data"].create_dataset("visdata", values.shape, whole)[...] = 1
    other = raw.rename(raw.with_name("sb00.h5"))
    assert main(["inspect", "--json", str(other)]) == 0
    [entry] = json.loads(capsys.readouterr().out)
    assert entry["reader"] == "pyuvdata"
    assert entry["why"] == "visibilities are pairs of int32, not complex numbers"
    assert entry["odd"][0].startswith("its name is no raw file's")
    assert entry["odd"][1] == "no antenna_diameters: 4.65 m"
    assert entry["header"]["n_times"] == 3


def test_a_file_that_no_reader_takes_ends_with_1_and_says_why(raw, capsys):
    raw.write_bytes(raw.read_bytes()[:2000])
    assert main(["inspect", str(raw)]) == 1
    assert "reader     none: truncated: 2000 of" in capsys.readouterr().out


@pytest.mark.parametrize("beside", [True, False])
def test_an_unfinished_file_is_called_so_as_by_the_index(raw, capsys, beside):
    growing = raw.with_name(raw.name.replace(".hdf5", "_incomplete.hdf5"))
    growing.write_bytes(raw.read_bytes()[:2000])
    if not beside:
        raw.unlink()
    assert main(["inspect", str(growing)]) == 1
    (odd,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  odd")]
    assert GROWING in odd
    assert odd.endswith("the finished file is beside it") == beside
