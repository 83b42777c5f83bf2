"""The threads of a process: its libraries' variables, before and after numba's threads have begun."""

import os
import sys

import pytest

from contimg.core import threads


@pytest.mark.parametrize(("loaded", "expected"), [(False, "3"), (True, "7")])
def test_every_library_is_told_but_a_numba_that_is_at_work(loaded, expected, monkeypatch):
    for name in threads._VARIABLES:
        monkeypatch.setenv(name, "7")
    if loaded:
        monkeypatch.setitem(sys.modules, "numba", object())
    else:
        monkeypatch.delitem(sys.modules, "numba", raising=False)
    threads.limit(3)
    assert os.environ["NUMBA_NUM_THREADS"] == expected
    assert {os.environ[name] for name in threads._VARIABLES if name != "NUMBA_NUM_THREADS"} == {"3"}
