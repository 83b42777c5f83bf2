"""A job images with the WSClean of its run, or with the same version, or not at all; plan and sidecar say which."""

import json

import pytest

from contimg.core.errors import SystemFault
from contimg.image import programs


def wsclean_in(folder, version):
    folder.mkdir()
    program = folder / "wsclean"
    said = f"echo 'WSClean version {version} (2022-04-01)'" if version else "exit 1"
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """WSClean 3.1.0 where the run was planned."""
    program = wsclean_in(tmp_path / "outside", "3.1.0")
    monkeypatch.setenv("PATH", str(tmp_path / "outside"))
    monkeypatch.delenv(programs.VARIABLE, raising=False)
    return program


def test_the_program_of_the_run_is_taken_though_an_environment_has_another(outside, tmp_path, monkeypatch):
    monkeypatch.setenv(programs.VARIABLE, programs.freeze())
    inside = wsclean_in(tmp_path / "inside", "3.6")
    monkeypatch.setenv("PATH", f"{tmp_path / 'inside'}:{tmp_path / 'outside'}:/usr/bin:/bin")
    assert programs.describe("wsclean") == {"backend": "wsclean", "version": "3.1.0", "path": outside}
    monkeypatch.delenv(programs.VARIABLE)
    assert programs.describe("wsclean") == {"backend": "wsclean", "version": "3.6", "path": inside}


def test_on_another_machine_the_same_version_will_do_and_no_other(outside, tmp_path, monkeypatch):
    monkeypatch.setenv(programs.VARIABLE, json.dumps([str(tmp_path / "gone" / "wsclean"), "3.1.0"]))
    assert programs.wsclean() == programs.Program(outside, "3.1.0")
    monkeypatch.setenv(programs.VARIABLE, json.dumps([str(tmp_path / "gone" / "wsclean"), "3.6"]))
    with pytest.raises(SystemFault, match=r"planned with WSClean 3\.6 .*gone.* there is 3\.1\.0 .*outside"):
        programs.wsclean()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemFault, match="there is none"):
        programs.wsclean()


def test_a_run_without_one_images_without_one_though_a_job_would_find_it(outside, monkeypatch):
    monkeypatch.setenv(programs.VARIABLE, "")
    assert programs.wsclean() is None
    assert programs.available_backend(channels_out=4)[0] == "tclean"


def test_a_program_that_does_not_say_its_version_is_known_by_its_path(tmp_path, monkeypatch):
    path = wsclean_in(tmp_path / "odd", None)
    monkeypatch.setenv("PATH", str(tmp_path / "odd"))
    monkeypatch.setenv(programs.VARIABLE, programs.freeze())
    assert programs.sentence(programs.describe("wsclean")) == f"WSClean ({path})"


def test_the_other_imagers_are_named_with_their_packages():
    assert set(programs.describe("ducc0")) == {"backend", "ducc0", "radler"}
    assert (
        programs.sentence({"backend": "ducc0", "ducc0": "0.4", "radler": None})
        == "ducc0 0.4, radler (not installed)"
    )
    assert programs.sentence({"backend": "tclean", "casatasks": "6.7"}) == "CASA tclean: casatasks 6.7"
