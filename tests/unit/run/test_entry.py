"""How a run ends."""

import gc
from types import SimpleNamespace

import pytest

from contimg.core.errors import SystemFault
from contimg.core.products import write_json
from contimg.index import retired
from contimg.jobs import treelock
from contimg.run import trees
from contimg.run.entry import Run, begin

TILE = "2025-10-30T13:52:12"
MS = f"ms/science/2025-10-30/{TILE}.ms"
IMAGE = f"images/2025-10-30/{TILE}"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run in its products tree that was asked for an image."""
    monkeypatch.chdir(tmp_path)
    asked = [MS, MS.replace(".ms", ".json"), IMAGE, "qa/2025-10-30.html"]
    listener = SimpleNamespace(products=asked, look=lambda: None, has_work=False)
    files = [str(tmp_path / "incoming" / f"{TILE}_sb00.hdf5")]
    night = SimpleNamespace(tiles={TILE: SimpleNamespace(files=files)})
    config = SimpleNamespace(products=tmp_path, incoming=tmp_path / "incoming")
    config.incoming.mkdir()
    run = Run(config, night, None, None, listener=listener)
    for path in (MS.replace(".ms", ".json"), f"{IMAGE}/status.json"):
        write_json(tmp_path / path, {"status": "ok", "reason": None})
    return run


def test_a_run_with_nothing_to_do_ends_well_where_all_is_made_or_the_data_are_to_blame(run, tmp_path, capsys):
    run.idle()
    write_json(tmp_path / IMAGE / "status.json", {"status": "rejected", "reason": "all flagged"})
    run.idle()
    run.succeeded()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"status": "rejected", "reason": "error: OSError: no"}', f"{IMAGE}: error: OSError: no"),
        ('{"status":', f"{IMAGE}: error: its record cannot be read"),
    ],
)
def test_what_ended_with_an_error_ends_every_run_that_is_asked_for_it(run, tmp_path, capsys, text, says):
    (tmp_path / IMAGE / "status.json").write_text(text)
    with pytest.raises(SystemExit) as ended:
        run.idle()
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"contimg: {says}")
    assert said[1].startswith("contimg: error: 1 product(s) ended with an error; ")
    assert f"`contimg retry --products {tmp_path}`" in said[1]
    with pytest.raises(SystemFault, match="contimg retry"):
        run.succeeded()


def test_an_error_of_what_a_run_is_not_asked_for_is_none_of_it(run, tmp_path, capsys):
    run.listener.products = [MS]
    write_json(tmp_path / IMAGE / "status.json", {"status": "rejected", "reason": "error: OSError: no"})
    run.idle()
    run.succeeded()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["read-only", "not ours"])
def test_a_products_tree_that_cannot_be_written_ends_the_run_in_one_line_before_it_is_planned(
    tmp_path, monkeypatch, capsys, how
):
    (tmp_path / "incoming").mkdir()
    (tmp_path / "products").mkdir()
    if how == "read-only":
        lack = f"{tmp_path}/products: the file system is read-only"
        monkeypatch.setattr("contimg.core.room.lacking", lambda path: lack)
    else:
        lack = f"{tmp_path}/products: you cannot write there"
        monkeypatch.setattr("os.access", lambda path, mode: False)
    values = {"incoming": str(tmp_path / "incoming"), "products": str(tmp_path / "products")}
    with pytest.raises(SystemExit) as ended:
        begin(values, clone=tmp_path, main=True, cores=1)
    assert ended.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"contimg: error: products: {lack}")
    assert list((tmp_path / "products").iterdir()) == []


def test_what_was_retired_since_a_run_was_planned_stops_it_before_anything_is_frozen(run, tmp_path):
    run.config.products = tmp_path
    run.retired_state = retired.state(tmp_path)
    write_json(retired.path_of(tmp_path, "2025-10-30"), {TILE: {"raw": {}}})
    try:
        with pytest.raises(
            SystemFault, match="retired since this run was planned; start the same command again"
        ):
            run.started()
    finally:
        treelock.release()
        gc.unfreeze()
    assert not (tmp_path / "state" / "runs").exists()


class FrozenError(Exception):
    """The plan is frozen now: what comes before has been done."""


def frozen(*_):
    raise FrozenError


def test_the_raw_files_are_noted_as_needed_by_a_run_and_not_by_a_dry_one(tmp_path, monkeypatch, run):
    """`snakemake -n` reads the Snakefile, which calls `begin`, and calls neither `started` nor `idle`."""
    values = {"incoming": str(run.config.incoming), "products": str(tmp_path / "products")}
    begin(values, clone=tmp_path, main=True, cores=1)
    gc.enable()
    assert list(run.config.incoming.iterdir()) == []
    run.idle()
    assert trees.others(run.config.incoming, tmp_path / "another") == [str(tmp_path)]
    trees.release(run.config.incoming, tmp_path)
    run.retired_state = retired.state(tmp_path)
    monkeypatch.setattr("contimg.run.entry.freeze", frozen)
    try:
        with pytest.raises(FrozenError):
            run.started()
    finally:
        treelock.release()
        gc.unfreeze()
    assert trees.others(run.config.incoming, tmp_path / "another") == [str(tmp_path)]
