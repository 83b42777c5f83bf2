"""What is read of somebody else's HDF5 file, and what is not."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from builders.uvh5_files import mjd, write_tile, write_uvh5
from contimg.core.errors import InputError
from contimg.index import hdf5
from contimg.index.build import build_index
from contimg.index.raw import read_header
from contimg.index.uvh5 import open_data, read_layout

START = mjd("2025-10-30T13:00:00")


@pytest.fixture
def raw(tmp_path):
    return write_uvh5(tmp_path / "2025-10-30T13:00:01_sb00.hdf5", START)


def with_unknown_filter(path, code=32008):
    with h5py.File(path, "r+") as file:
        values = file["Data/visdata"][()]
        dtype = file["Data/visdata"].id.get_type()
        del file["Data/visdata"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(values.shape)
        plist.set_filter(code, h5py.h5z.FLAG_OPTIONAL, (0, 2))
        space = h5py.h5s.create_simple(values.shape)
        stored = h5py.h5d.create(file["Data"].id, b"visdata", dtype, space, plist)
        stored.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)


@pytest.mark.parametrize("read", [read_header, read_layout, open_data])
@pytest.mark.parametrize(("code", "name"), [(32008, " (bitshuffle)"), (32123, "")])
def test_a_filter_that_is_not_installed_is_named_and_nothing_is_called_damaged(raw, read, code, name):
    with_unknown_filter(raw, code)
    with pytest.raises(hdf5.TransientInputError) as caught:
        read(raw)
    assert f"Data/visdata is compressed with HDF5 filter {code}{name}, which is not installed here" in str(
        caught.value
    )
    assert "damaged" not in str(caught.value)
    assert "delete" not in str(caught.value)


def test_a_filter_that_is_installed_later_is_noticed(tmp_path):
    """Nothing of the file changes then, so that what was read of it must not be kept."""
    for path in write_tile(tmp_path / "raw", START, n_subbands=1):
        with_unknown_filter(path)
    how = {"start_mjd": None, "end_mjd": None, "min_subbands": 1, "cache": tmp_path / "cache"}
    [out] = build_index(tmp_path / "raw", **how).left_out
    assert "filter 32008 (bitshuffle), which is not installed here: the file may be whole" in out.reason
    assert not list((tmp_path / "cache").glob("*.json"))


@pytest.mark.parametrize("name", ["Data/visdata", "Header/time_array", "Data", "Header/extra_keywords"])
def test_external_links_are_not_followed(raw, tmp_path, name):
    other = tmp_path / "other.hdf5"
    with h5py.File(raw, "r+") as file:
        with h5py.File(other, "w") as away:
            file.copy(name, away, "moved")
        del file[name]
        file[name] = h5py.ExternalLink(str(other), "/moved")
    with pytest.raises(
        InputError, match=rf"{name.split('/')[-1]} is a link into another file, which is not followed"
    ):
        read_header(raw)


@pytest.mark.parametrize("how", ["external storage", "virtual"])
def test_bytes_in_other_files_are_not_read(raw, tmp_path, how):
    with h5py.File(raw, "r+") as file:
        values = file["Data/flags"][()]
        del file["Data/flags"]
        if how == "virtual":
            layout = h5py.VirtualLayout(shape=values.shape, dtype=values.dtype)
            layout[...] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "flags", shape=values.shape)
            file["Data"].create_virtual_dataset("flags", layout)
        else:
            away = [(str(tmp_path / "flags.bin"), 0, values.nbytes)]
            file["Data"].create_dataset("flags", data=values, external=away)
    with pytest.raises(InputError, match="Data/flags is kept in another file"):
        read_header(raw)


def test_a_header_that_declares_more_than_there_can_be_is_not_read(raw):
    with h5py.File(raw, "r+") as file:
        del file["Header/antenna_names"]
        file["Header"].create_dataset("antenna_names", (10**9,), "S16", chunks=(1000,))
    with pytest.raises(InputError, match="Header/antenna_names declares 16 GB, more than any header holds"):
        read_header(raw)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("Nfreqs", 10**6, "Header/Nfreqs = 1000000, expected at most 65536"),
        ("Nbls", 10**9, "Header/Nbls = 1000000000, expected at most"),
        ("Ntimes", 99_999, "expected Ntimes x Nbls rows"),
        ("freq_array", [[1311.5, 1311.4]], r"frequencies of 1311.4 to 1311.5 Hz cannot be right.*in MHz\?"),
        ("channel_width", 1.0, "channels 1 Hz wide cannot be right"),
        ("phase_center_app_dec", 54.6, r"no declination; repair the header \(is it in degrees\?\)"),
        ("phase_center_app_dec", -np.pi / 3, "below the horizon of latitude 37.233"),
        (
            "antenna_positions",
            np.full((3, 3), 4e6),
            r"antenna 1 is 4000 km from the reference point.*centre of the Earth",
        ),
        ("antenna_names", np.array(["1", "2", "2"], dtype="S"), "two antennas have the same name, 2"),
        ("antenna_numbers", [0, 1, 1], "two antennas have the same number, 1"),
        ("antenna_diameters", [4.65], "the antenna table contradicts itself"),
        ("altitude", 6.4e6, "the site cannot be right"),
        ("latitude", np.nan, "the site cannot be right"),
        (
            "time_array",
            np.repeat([2440587.5, 2440587.6, 2440587.7], 6),
            "times cannot be right.*expected from 1973",
        ),
        (
            "time_array",
            np.repeat([2460979.0, 2460979.5, 2460981.0], 6),
            "times cannot be right.*a day at most",
        ),
        ("integration_time", np.full(18, 12884.9), "times cannot be right"),
        ("polarization_array", [1, 2], r"holds \(1, 2\), expected AIPS codes"),
        ("polarization_array", [-5, -5], "each once"),
    ],
)
def test_what_is_not_plausible_is_refused_with_the_bound(raw, name, value, says):
    with h5py.File(raw, "r+") as file:
        del file[f"Header/{name}"]
        file[f"Header/{name}"] = value
    with pytest.raises(InputError, match=says):
        read_header(raw)


KILLED_WRITER = """
import os, sys
import h5py
with h5py.File(sys.argv[1]) as source:
    file = h5py.File(sys.argv[2], "w", libver="latest")
    for name in source:
        source.copy(name, file)
    file.flush()
os._exit(0)
"""


def test_a_file_that_its_writer_left_open_is_not_called_damaged(tmp_path):
    path = tmp_path / "2025-10-30T13:00:01_sb00.hdf5"
    whole = write_uvh5(tmp_path / "whole.hdf5", START)
    subprocess.run([sys.executable, "-c", KILLED_WRITER, whole, path], check=True)
    with pytest.raises(InputError, match=r"marked as open for writing.*h5clear") as caught:
        read_header(path)
    assert "delete" not in str(caught.value)


def test_a_site_that_the_antennas_do_not_stand_on_is_told(tmp_path):
    # Four antennas on a flat field at +37: their plane tells the latitude.
    path = write_uvh5(tmp_path / "2025-10-30T13:00:01_sb00.hdf5", START, n_antennas=4)
    longitude, latitude = np.radians([-118.2834, 37.2334])
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0])
    north = np.array(
        [-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)]
    )
    with h5py.File(path, "r+") as file:
        file["Header/antenna_positions"][...] = np.outer([0, 500, 0, -300], east) + np.outer(
            [0, 0, 800, 300], north
        )
    assert read_header(path).odd == ()
    with h5py.File(path, "r+") as file:
        file["Header/latitude"][...] = latitude
    (said,) = read_header(path).odd
    assert "the plane of the antennas is tilted by 37 deg" in said


def test_visibilities_that_are_no_numbers_are_left_out_before_any_job(raw):
    with h5py.File(raw, "r+") as file:
        shape = file["Data/visdata"].shape
        del file["Data/visdata"]
        file["Data/visdata"] = np.full(shape, b"abcdefgh")
    with pytest.raises(InputError, match=r"Data/visdata holds .* expected complex numbers or pairs"):
        read_header(raw)
