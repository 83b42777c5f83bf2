"""A bandpass solved in two processes is the one that a single process solves, gaps across the cut included."""

import shutil

import numpy as np
import pytest
from casacore import tables

from builders.synthetic_ms import make_calibrator_ms
from contimg.calibrate import bandpass
from contimg.core.casa import casatasks
from contimg.core.errors import SystemFault

N_CHAN, FILL = 32, 3
CUT = round(N_CHAN * (1 - bandpass.OTHER_SHARE))
SETTINGS = {"refant": "103", "bandtype": "B", "solint": "inf", "combine": "scan", "minsnr": 3.0}


@pytest.fixture(scope="module")
def ms(tmp_path_factory):
    """A transit of one integration with a gap across the cut, and one too wide to be filled before it."""
    path = tmp_path_factory.mktemp("bandpass") / "one.ms"
    names = ["3", "1", "7", "2", "8", "103", "10", "12", "5", "104"]
    make_calibrator_ms(path, names=names, n_times=1, n_chan=N_CHAN, sigma=0.3)
    with tables.table(str(path), readonly=False, ack=False) as table:
        flag = table.getcol("FLAG")
        flag[:, CUT - 1 : CUT + 2] = True
        flag[:, 4:9] = True
        table.putcol("FLAG", flag)
    return path


def solved(ms, folder, threads):
    """The columns of the caltable."""
    folder.mkdir()
    tasks = casatasks(threads, folder / "casa.log")
    bandpass.solve(
        tasks,
        ms,
        folder / "BP",
        fillgaps=FILL,
        scratch=folder,
        threads=threads,
        **{**SETTINGS, **antennas(ms)},
    )
    with tables.table(str(folder / "BP"), ack=False) as table:
        return {name: table.getcol(name) for name in bandpass.COLUMNS}


def antennas(ms):
    """The reference by its index, since CASA takes the name 103 for one."""
    with tables.table(f"{ms}/ANTENNA", ack=False) as table:
        return {"refant": str(list(table.getcol("NAME")).index("103"))}


def test_two_processes_find_what_one_does(ms, tmp_path, monkeypatch):
    one = solved(ms, tmp_path / "one", threads=2)
    assert not (tmp_path / "one" / "other.log").exists()  # so small a set is not worth two
    monkeypatch.setattr(bandpass, "WORTH_VISIBILITIES", 0)
    two = solved(ms, tmp_path / "two", threads=2)
    assert (tmp_path / "two" / "other.log").exists()
    np.testing.assert_array_equal(two["FLAG"], one["FLAG"])
    assert one["FLAG"][:, 4:9].all()
    good = ~one["FLAG"]
    assert good[:, CUT - 1 : CUT + 2].any()  # the gap was filled
    np.testing.assert_allclose(two["CPARAM"][good], one["CPARAM"][good], atol=1e-4)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {"BP", "casa.log", "other.log"}
    said = (tmp_path / "two" / "casa.log").read_text()
    assert said.count("Begin Task: bandpass") == 2


def test_a_half_without_any_solution_is_flagged(ms, tmp_path, monkeypatch):
    monkeypatch.setattr(bandpass, "WORTH_VISIBILITIES", 0)
    for name, bad in (("own", slice(0, CUT + FILL + 1)), ("other", slice(CUT - FILL - 1, N_CHAN))):
        path = tmp_path / f"{name}.ms"
        shutil.copytree(ms, path)
        with tables.table(str(path), readonly=False, ack=False) as table:
            flag = table.getcol("FLAG")
            flag[:, bad] = True
            table.putcol("FLAG", flag)
        found = solved(path, tmp_path / name, threads=2)["FLAG"]
        assert found[:, bad].all()
        assert not found.all()


def test_a_process_that_dies_is_a_fault_with_its_last_words(ms, tmp_path, monkeypatch):
    monkeypatch.setattr(bandpass, "WORTH_VISIBILITIES", 0)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    broken = tmp_path / "broken" / "casaconfig"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise SystemExit(7)")
    with pytest.raises(SystemFault, match="ended with code 7"):
        solved(ms, tmp_path / "here", threads=2)
