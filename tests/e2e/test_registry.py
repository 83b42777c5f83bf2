"""The registries of the demo night: built by the workflow, equal to its sidecars, built again when those change."""

import shutil

from contimg.registry import questions
from contimg.registry.files import NAMES, as_rebuilt, open_readonly


def test_the_workflow_builds_registries_that_say_what_the_sidecars_say(night):
    night.snakemake("--cores", "2", "registry")
    state = night.products / "state"
    assert all((state / name).is_file() for name in NAMES)
    assert as_rebuilt(night.products) == []
    with open_readonly(state / "products.sqlite3") as connection:
        ((images,),) = connection.execute("SELECT count(*) FROM tiles")
        ((mosaics,),) = connection.execute("SELECT count(*) FROM mosaics")
        (table, *_), *_ = questions.of_calibrator(connection, calibrator="0834+555")[1]
    assert images == len(night.directories("images"))
    assert mosaics == len(night.directories("mosaics"))
    with open_readonly(state / "cal_registry.sqlite3") as connection:
        ((strip, mjd),) = connection.execute("SELECT strip_deg, mjd FROM caltable WHERE path = ?", (table,))
        found = questions.valid_tables(connection, mjd=mjd + 0.1, dec_deg=strip, hours=3.0)[1]
    assert [row[0] for row in found] == [table]
    assert "Nothing to be done" in night.snakemake("-n", "registry").stdout


def test_what_another_run_made_is_seen(night):
    night.snakemake("--cores", "2", "registry")
    other = night.products / "images" / "2001-01-01" / "2001-01-01T00:00:00"
    shutil.copytree(night.directories("images")[0], other)
    try:
        assert "build_registry" in night.snakemake("-n", "registry").stdout
    finally:
        shutil.rmtree(other.parent)
