"""What conversion costs, in quantities that no load changes: bytes, passes over the data, memory."""

import tracemalloc
from collections import Counter
from pathlib import Path

from builders.raw_tiles import raw_tile, slots
from contimg.convert import flag
from contimg.convert.options import FlaggingOptions
from contimg.convert.tile import READ_AHEAD, convert_tile
from contimg.index import uvh5
from contimg.ms.sets import MsWriter

QUIET = FlaggingOptions(aoflagger=False)
ANTENNAS = tuple(str(n) for n in range(24, 45))  # 231 baselines with autocorrelations
N_SUBBANDS, N_CHANNELS, N_TIMES = 3, 32, 12
COMPLEX64, FLAG, FLOAT32 = 8, 1, 4


def tile(folder):
    """Raw files of three subbands, 7.4 MB: 4.3 MB of visibilities, flags and samples."""
    return raw_tile(
        folder, antennas=ANTENNAS, n_subbands=N_SUBBANDS, n_channels=N_CHANNELS, n_integrations=N_TIMES
    )


def convert(files, out, threads=1):
    return convert_tile(slots(files), "tile", out, phase_centre=None, flagging=QUIET, threads=threads)


def visibilities(n_times):
    n_baselines = len(ANTENNAS) * (len(ANTENNAS) + 1) // 2
    return n_times * n_baselines * N_SUBBANDS * N_CHANNELS * 2


def moved():
    """Bytes that this process has read and written so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    values = {name: int(value) for name, value in (line.split(": ") for line in lines)}
    return values["rchar"], values["wchar"]


def test_each_raw_byte_is_read_once_and_each_byte_of_the_set_written_once(tmp_path, monkeypatch):
    monkeypatch.setattr(flag, "BLOCK_BYTES", 1)  # as many blocks of baselines as can be
    files = tile(tmp_path / "raw")
    convert(files, tmp_path / "first.ms")  # what is imported, compiled or looked up once is not counted
    raw_bytes = sum(path.stat().st_size for path in files)
    read, written = moved()
    convert(files, tmp_path / "tile.ms")
    read, written = moved()[0] - read, moved()[1] - written
    ms_bytes = sum(path.stat().st_size for path in (tmp_path / "tile.ms").rglob("*") if path.is_file())
    n_vis = visibilities(N_TIMES)
    assert raw_bytes > n_vis * (COMPLEX64 + FLAG + FLOAT32)
    # Raw files once; DATA once more, for the noise and for AOFlagger. What comes on top (headers, subtables, opening
    # and checking the finished set) is the same for a tile of any size: 1.9 MB; and antennas' noise over the band, 90
    # kB, is read whenever the set is opened: 0.8 MB. DATA once more would be 4.3 MB.
    assert raw_bytes <= read <= raw_bytes + n_vis * COMPLEX64 + 3.3e6
    # The set once. Subtables, which are opened again to be filled, come on top: 0.7 MB for any size.
    assert n_vis * COMPLEX64 < written <= ms_bytes + 1.2e6


def test_data_pass_through_once_and_come_back_once(tmp_path, monkeypatch):
    files, calls = tile(tmp_path / "raw"), Counter()

    def counted(kind, function):
        def call(*arguments):
            calls[kind, arguments[1] if kind != "raw" else (arguments[0].path, arguments[1])] += 1
            return function(*arguments)

        return call

    monkeypatch.setattr(uvh5.RawData, "read_times", counted("raw", uvh5.RawData.read_times))
    for name in ("write_time", "write_flag", "write_weight"):
        monkeypatch.setattr(MsWriter, name, counted(name, getattr(MsWriter, name)))
    baselines = Counter()
    original = MsWriter.read_baselines

    def read_back(self, i, first, out):
        baselines[i] += len(out)
        original(self, i, first, out)

    monkeypatch.setattr(MsWriter, "read_baselines", read_back)
    convert(files, tmp_path / "tile.ms")
    times = range(N_TIMES)
    expected = {("raw", (str(path), i)): 1 for path in files for i in times}
    expected |= {(name, i): 1 for name in ("write_time", "write_flag", "write_weight") for i in times}
    assert dict(calls) == expected
    n_baselines = len(ANTENNAS) * (len(ANTENNAS) + 1) // 2
    assert dict(baselines) == dict.fromkeys(times, n_baselines)


def test_memory_is_that_of_a_few_integrations_not_of_the_tile(tmp_path):
    files = tile(tmp_path / "raw")
    convert(files, tmp_path / "first.ms")
    tracemalloc.start()
    convert(files, tmp_path / "tile.ms")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one = visibilities(1) * (COMPLEX64 + FLAG + FLOAT32)
    # An integration on its way out, another of what numpy makes in passing, and up to READ_AHEAD + 2 subbands read
    # ahead: 3.1 MB, where the visibilities of the tile have 4.3. Its flags lie in shared memory, not counted here.
    assert peak < (2 + (READ_AHEAD + 2) / N_SUBBANDS) * one
