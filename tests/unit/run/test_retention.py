import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builders.retained_night import ALL, RetainedNight
from contimg.core import names
from contimg.core.errors import InputError, SystemFault
from contimg.core.products import read_json, status, write_json
from contimg.index import retired
from contimg.index.tile import Index, LeftOut, Slot
from contimg.publish.versions import published_versions, withdraw
from contimg.run import retention, trees


@pytest.fixture
def night(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # what reaches the disk is not what is tested
    monkeypatch.setenv("CONTIMG_CONFIGURATION", "")
    made = RetainedNight(tmp_path)
    made.make()
    return made


def why(night, tile=0, kind="raw"):
    return night.held()[(kind, night.names[tile])]


def test_what_is_published_and_old_enough_may_go(night):
    found = night.held()
    assert {kind for kind, _ in found} == {"raw", "science", "calibrator"}
    assert set(found.values()) == {None}


def test_by_default_nothing_ever_goes(night):
    night.configure()
    assert all("is not set: " in said for said in night.held().values())


def test_age_counts_from_the_observation(night):
    night.configure(retention={"raw_days": 20, "science_days": 9})
    found = night.held()
    assert {said for (kind, _), said in found.items() if kind == "science"} == {None}
    assert {said for (kind, _), said in found.items() if kind == "raw"} == {"10.0 days old, kept for 20"}


def first(night):
    """A mosaic that holds the first tile and not the last: two others are not touched by what becomes of it."""
    return next(path for path, window in night.windows.items() if window.tiles[0] == night.names[0])


def publication(night):
    return night.tree / names.publication(first(night))


def rewrite(path, **changes):
    write_json(path, {**read_json(path), **changes})


def lose_version(night):
    shutil.rmtree(publication(night))


def withdraw_it(night):
    withdraw(publication(night), 1, "gains wrong", tree=night.tree)


def damage_version(night):
    (publication(night) / "v1" / "pixels.fits").write_bytes(b"x")


def make_again(night):
    night.mosaic(first(night), "2")
    night.judge(first(night))


def without_verdict(night):
    night.mosaic(first(night), "2")


def fail_mosaic(night):
    night.judge(first(night), fail="rms 5, limit 3")


def reject_mosaic(night):
    night.mosaic(first(night), reason="too few tiles")


def fail_tile(night):
    night.judge(names.image_dir(night.names[0]), night.names[0], fail="rms 5 mJy, limit 3")


def error_tile(night):
    night.image(night.names[0], reason="error: its job was killed 3 times")


def reject_tile(night):
    night.image(night.names[0], reason="no solution")


def repair_raw(night):
    path = Path(night.files(night.names[0])[0])
    before = path.stat()
    path.write_bytes(
        path.read_bytes()[::-1]
    )  # as large, and with the old time of change: `cp -p`, `rsync -a`
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def late_subband(night):
    tile = night.all_tiles[0]
    path = night.incoming / "late_sb02.hdf5"
    path.write_bytes(b"late")
    night.all_tiles[0] = replace(tile, slots=(*tile.slots, Slot(str(path), 1.33e9, 48, 244140.625)))


def damage_image(night):
    (night.tree / names.image_dir(night.names[0]) / f"{night.names[0]}.image.fits").write_text("zeros")


def other_settings(night):
    night.configure(retention=ALL, imaging={"robust": 0.3})


def another_calibrator_fails(night):
    night.calibrate(reason="no solution")
    night.image(night.names[0], "2")


def no_image(night):
    shutil.rmtree(night.tree / names.image_dir(night.names[0]))


def unreadable(night):
    (night.tree / names.tile_verdict(night.names[0])).write_text("{half")


def empty_sidecar(night):
    write_json(night.tree / names.image_dir(night.names[0]) / "status.json", [])


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lose_version, "is not published"),
        (withdraw_it, "is withdrawn (gains wrong)"),
        (damage_version, "its publication is damaged"),
        (make_again, "is not published as it is now"),
        (without_verdict, "was made before mosaics/"),
        (fail_mosaic, "is rejected (rms 5, limit 3), and retention.rejected is keep"),
        (reject_mosaic, "is rejected (too few tiles), and retention.rejected is keep"),
        (fail_tile, "is rejected (rms 5 mJy, limit 3), and retention.rejected is keep"),
        (error_tile, "ended with an error (error: its job was killed 3 times)"),
        (reject_tile, "is rejected (no solution), and retention.rejected is keep"),
        (repair_raw, "sb00.hdf5 changed"),
        (late_subband, "was made of other raw files than are there"),
        (damage_image, "changed since it was made"),
        (other_settings, "was made with another `imaging` than the configuration's"),
        (another_calibrator_fails, "was made with other caltables than the best one"),
        (no_image, "is not made"),
        (unreadable, "cannot be judged (InputError"),
        (empty_sidecar, "is no sidecar"),
    ],
)
def test_what_is_still_needed_is_held_and_says_by_what(night, what, said):
    what(night)
    assert said in (why(night) or "")
    assert why(night) == why(night, kind="science")


@pytest.mark.parametrize(
    ("what", "free"), [(fail_mosaic, True), (reject_mosaic, True), (error_tile, False), (withdraw_it, False)]
)
def test_what_is_rejected_may_be_released_and_what_failed_or_was_withdrawn_may_not(night, what, free):
    what(night)
    night.configure(retention={**ALL, "rejected": "release"})
    assert (why(night) is None) == free


def test_a_mosaic_of_another_run_holds_its_tiles_too(night):
    tile = night.names[1]
    image, verdict = names.image_dir(tile), names.tile_verdict(tile)
    entry = {"tile": tile, "status": "ok", "reason": None, "path": image, "weight": 1.0}
    cygnus = night.tree / "mosaics" / "2025-10-30" / "cygnus" / "status.json"
    write_json(cygnus, status(inputs=[image, verdict], tiles=[entry]))
    found = night.held()
    held = {tile for (kind, tile), said in found.items() if kind == "raw" and said is not None}
    assert held == {tile}
    cygnus.write_text("half")  # which tiles it holds cannot be told
    assert None not in {said for (kind, _), said in night.held().items() if kind == "raw"}


def test_a_transit_without_caltables_holds_its_tile_and_those_that_may_use_it(night):
    shutil.rmtree(night.tree / night.caltable)
    assert all(said == f"{night.caltable} is not made" for said in night.held().values())


def test_another_products_tree_of_the_same_raw_files_holds_them(night, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    assert trees.register(night.incoming, night.tree) is None
    assert why(night) is None
    assert trees.register(night.incoming, other) is None
    assert f"{other} is made of it too" in why(night)
    assert why(night, kind="science") is None
    trees.release(night.incoming, other)
    assert why(night) is None
    with pytest.raises(InputError, match="no products tree of"):
        trees.release(night.incoming, other)


def test_the_plan_is_the_same_with_and_without_the_files(night):
    before = night.night()
    night.let_go()
    assert [path for path in night.incoming.iterdir() if path.is_file()] == []
    assert not list(night.tree.glob("ms/*/*/*.ms"))
    index, gone = retired.merge(Index((), ()), retired.records(night.tree), night.tree)
    assert index.tiles == tuple(night.all_tiles)  # floats come back bit for bit
    after = night.night()
    assert (after.windows, after.candidates, after.transits) == (
        before.windows,
        before.candidates,
        before.transits,
    )
    assert gone == retired.Retired(tuple(night.names), tuple(night.names))
    assert set(before.up_to_mosaics()) - set(after.up_to_mosaics()) == set(before.science_sets())
    assert after.science_sets() == []
    assert after.retired.said == ()


def test_after_retention_what_cannot_be_made_is_left_out_and_said(night):
    night.let_go()
    tile, windows = night.names[0], night.windows
    shutil.rmtree(night.tree / names.image_dir(tile))
    shutil.rmtree(night.tree / night.caltable)
    shutil.rmtree(night.tree / first(night))
    after = night.night()
    asked = after.up_to_publication()
    assert names.image_dir(tile) not in asked
    assert night.caltable not in asked
    assert names.tile_verdict(tile) in asked  # it is there
    assert tile not in after.windows[first(night)].tiles  # made again, of what is left
    others = [path for path, window in windows.items() if path != first(night) and tile in window.tiles]
    assert sorted(after.retired.frozen) == sorted(others)
    assert all(after.windows[path] == windows[path] for path in others)
    assert "1 caltables cannot be made any more" in after.retired.said[0]
    assert f"1 images cannot be made any more, their data are retired: {tile}" in after.retired.said[1]
    assert after.beams() == []
    (night.tree / names.tile_verdict(tile)).unlink()
    dropped = night.night()
    assert set(others).isdisjoint(dropped.windows)
    assert names.tile_verdict(tile) not in dropped.up_to_publication()


def test_injected_sources_that_are_asked_for_later_are_left_out(night):
    night.let_go()
    night.configure(retention=ALL, qa={"injection_minutes": 1})
    after = night.night()
    assert after.injected == ()
    assert after.retired.said == (f"3 injected sources cannot be made any more, their data are retired: "
                                  f"{', '.join(night.names)}",)  # fmt: skip


def test_a_set_whose_raw_files_are_there_is_made_again_for_a_lost_image(night):
    night.let_go(kinds={"science"})
    assert night.night().science_sets() == []
    shutil.rmtree(night.tree / names.image_dir(night.names[0]))
    assert night.night().science_sets() == [names.science_ms(night.names[0])]


def test_frozen_mosaics_and_lost_tiles_are_no_rules():
    import re

    gone = retired.Retired(lost=("2025-10-30T12:00:00",), frozen=("mosaics/2025-10-30/0830+55",))
    window = re.compile(rf"mosaics/(?P<date>{gone.dates})/(?P<mosaic>{names.NOT_A_DATE_PATTERN})$")
    assert window.match("mosaics/2025-10-30/0830+55") is None
    assert window.match("mosaics/2025-10-31/0830+55")
    assert window.match("mosaics/2025-10-30/0830+55.2")
    assert re.fullmatch(gone.judged, "2025-10-30T12:00:00") is None
    assert re.fullmatch(gone.judged, "2025-10-30T12:00:01")
    assert retired.NOTHING.dates == names.DATE_PATTERN


def test_what_is_half_gone_counts_as_gone(night):
    tile = night.all_tiles[0]
    retention.retire(
        retention.Item("raw", tile.name, (), 0, None), tile, night.tree, incoming=night.incoming, archive=None
    )
    known = retired.records(night.tree)
    Path(tile.files[1]).unlink()
    lost = LeftOut(tile.name, "1 of 16 subbands", ())
    fewer = replace(tile, slots=tile.slots[:1])
    for index in (Index((fewer,), ()), Index((), (lost,))):
        merged, gone = retired.merge(index, known, night.tree)
        assert merged == Index((tile,), ())
        assert gone.raw == (tile.name,)
    night.let_go()  # and the next call goes on
    assert not any(Path(path).exists() for path in tile.files)


def test_records_of_a_range_only(night):
    night.let_go()
    tiles = night.all_tiles
    found = retired.records(night.tree, tiles[1].start_mjd, tiles[2].start_mjd)
    assert list(found) == [tiles[1].name]
    merged, _ = retired.merge(Index((), ()), found, night.tree, exclude=[tiles[1].name])
    assert merged.tiles == ()


def test_a_tile_is_forgotten_only_if_its_raw_files_could_bring_it_back(night):
    night.let_go(kinds={"science"})
    night.let_go(kinds={"raw"}, archive=night.archive)
    tile = night.all_tiles[0]
    with pytest.raises(InputError, match=f"0 of its 2 raw files.*they went to {night.archive}"):
        retention.forget(tile.name, night.tree, Index((), ()))
    with pytest.raises(InputError, match="1 of its 2 raw files"):
        retention.forget(tile.name, night.tree, Index((replace(tile, slots=tile.slots[:1]),), ()))
    retention.forget(tile.name, night.tree, Index((tile,), ()))
    with pytest.raises(InputError, match="is not retired"):
        retention.forget(tile.name, night.tree, Index((tile,), ()))
    assert len(retired.records(night.tree)) == 2


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.hdf5")}


def test_an_archive_gets_the_same_bytes(night):
    expected = contents(night.incoming)
    night.configure(retention={**ALL, "archive": str(night.archive)})
    night.let_go(night.archive)
    assert contents(night.incoming) == {}
    assert contents(night.archive) == expected
    assert read_json(retired.path_of(night.tree, "2025-10-30"))[night.names[0]]["raw"]["to"] == str(
        night.archive
    )


def test_a_bad_copy_keeps_the_original(night, monkeypatch):
    expected = contents(night.incoming)
    monkeypatch.setattr(
        "contimg.run.retention.shutil.copy2", lambda _source, target: Path(target).write_bytes(b"torn")
    )
    with pytest.raises(SystemFault, match="the copy differs"):
        night.let_go(night.archive)
    assert contents(night.incoming) == expected
    assert list(night.archive.rglob("*.*")) == []
    assert retired.records(night.tree) == {}


def test_an_archive_that_runs_full_ends_in_a_line_and_the_same_command_goes_on(night, monkeypatch):
    expected = contents(night.incoming)
    real, copies = shutil.copy2, []

    def full_after_three(source, target):
        copies.append(source)
        if len(copies) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    monkeypatch.setattr("contimg.run.retention.shutil.copy2", full_after_three)
    with pytest.raises(
        SystemFault, match=r"the archive cannot take .*, which stays \(No space left on device\)"
    ):
        night.let_go(night.archive)
    # the first tile has gone, the second has one copy and stays where it was
    assert contents(night.archive) | contents(night.incoming) == expected
    assert len(contents(night.incoming)) == len(expected) - 2
    assert not list(night.archive.rglob("*.part.*"))
    monkeypatch.setattr("contimg.run.retention.shutil.copy2", real)
    night.let_go(night.archive)
    assert contents(night.archive).items() >= expected.items()


def same(night, tmp_path):
    return night.incoming


def by_a_link(night, tmp_path):
    (tmp_path / "link").symlink_to(night.incoming)
    return tmp_path / "link"


def linked_back(night, tmp_path):
    (tmp_path / "store").mkdir()
    night.incoming.rename(tmp_path / "store" / "night")
    night.incoming.symlink_to(tmp_path / "store" / "night")
    return tmp_path / "store" / "night"


def hard_linked(night, tmp_path):
    shutil.copytree(night.incoming, tmp_path / "hard", copy_function=os.link)
    return tmp_path / "hard"


def below(night, tmp_path):
    return night.incoming / "archive"


def another_file(night, tmp_path):
    archive = tmp_path / "used"
    archive.mkdir()
    for path in night.incoming.glob("*.hdf5"):
        (archive / path.name).write_bytes(b"another observation")
    return archive


@pytest.mark.parametrize("place", [same, by_a_link, linked_back, hard_linked, below, another_file])
def test_the_only_copy_never_goes_into_an_archive_that_is_none(night, tmp_path, place):
    expected = contents(night.incoming)
    archive = place(night, tmp_path)
    before = contents(archive)
    night.configure(retention={**ALL, "archive": str(archive)})
    assert why(night) is not None
    night.let_go(archive)
    assert contents(night.incoming) == expected
    assert contents(archive) == before
    # nor if nobody had looked before
    item = replace(next(item for item in night.items() if item.kind == "raw"), held=None)
    if place is not below:
        with pytest.raises(SystemFault, match=r"no copy of it|differs"):
            retention.retire(item, night.all_tiles[0], night.tree, incoming=night.incoming, archive=archive)
        assert contents(night.incoming) == expected


def test_raw_files_behind_links_are_not_removed(night, tmp_path):
    path = Path(night.files(night.names[0])[0])
    shutil.move(path, tmp_path / "elsewhere.hdf5")
    path.symlink_to(tmp_path / "elsewhere.hdf5")
    assert "is a link" in why(night)
    shutil.move(tmp_path / "elsewhere.hdf5", path)
    night.incoming.rename(tmp_path / "store")
    night.incoming.mkdir()
    (night.incoming / "night").symlink_to(tmp_path / "store")
    night.all_tiles = [
        replace(
            tile,
            slots=tuple(
                replace(s, path=str(night.incoming / "night" / Path(s.path).name)) for s in tile.slots
            ),
        )
        for tile in night.all_tiles
    ]
    night.make()
    assert "lies outside `incoming`, behind a link" in why(night)


def test_what_is_held_is_not_removed_whoever_asks(night):
    item = retention.Item("raw", night.names[0], (Path(night.files(night.names[0])[0]),), 1, "needed")
    with pytest.raises(SystemFault, match="asked to remove what is held: needed"):
        retention.retire(item, night.all_tiles[0], night.tree, incoming=night.incoming, archive=None)


def test_a_file_that_changes_while_it_is_archived_stays(night, monkeypatch):
    path = Path(night.files(night.names[0])[0])
    record = retention._record

    def replaced(*args):
        record(*args)
        path.write_bytes(b"a better one")

    monkeypatch.setattr("contimg.run.retention._record", replaced)
    with pytest.raises(SystemFault, match="it changed while it was to be removed, and stays"):
        night.let_go(night.archive)
    assert path.read_bytes() == b"a better one"


def test_what_a_killed_call_left_half_removed_goes_with_the_next(night, monkeypatch):
    class Killed(BaseException):
        pass

    def half(path):
        if path.exists():
            (path / "table.dat").unlink()
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("contimg.run.retention.remove", half)
        with pytest.raises(Killed):
            night.let_go(kinds={"science"})
    (left,) = night.tree.glob("ms/*/*/*.part.*")
    assert retention.finish(night.tree) == [left]
    assert retention.finish(night.tree) == []
    assert {kind for kind, tile in night.held() if tile == night.names[0]} == {"raw"}


def test_the_patterns_of_the_rules_leave_out_retired_tiles():
    import re

    gone = retired.Retired(("2025-10-30T12:00:00",), ())
    assert re.fullmatch(gone.made_from_raw, "2025-10-30T12:00:00") is None
    assert re.fullmatch(gone.made_from_raw, "2025-10-30T12:00:01")
    assert gone.made_from_sets == names.TILE_PATTERN


def test_every_version_that_was_published_may_be_the_one_that_holds(night):
    mosaic = first(night)
    night.mosaic(mosaic, "2")
    night.judge(mosaic)
    night.publish(mosaic)
    assert why(night) is None
    damage = published_versions(publication(night))[1].path / "pixels.fits"
    damage.write_bytes(b"x")
    assert "damaged" in why(night)
    night.mosaic(mosaic, "1")
    night.judge(mosaic)
    assert why(night) is None  # version 1 holds just these


@pytest.mark.parametrize("where", ["above", "below", "by links to the files", "by a link to the directory"])
def test_a_tree_that_is_made_of_them_by_another_directory_holds_them_too(night, tmp_path, where):
    other, files = tmp_path / "other", [night.all_tiles[0].files[0]]
    other.mkdir()
    if where == "above":
        trees.register(night.incoming.parent, other)
    elif where == "below":
        below = night.incoming / "2025-10-30"
        below.mkdir()
        trees.register(below, other)
        moved = [
            Path(path).rename(below / Path(path).name) for tile in night.all_tiles for path in tile.files
        ]
        assert trees.others(night.incoming, night.tree, {path.parent for path in moved}) == [str(other)]
        assert trees.others(night.incoming, night.tree) == []
    elif where == "by links to the files":
        chosen = tmp_path / "chosen"
        chosen.mkdir()
        (chosen / "a.hdf5").symlink_to(files[0])
        assert trees.register(chosen, other, [str(chosen / "a.hdf5")]) is None
    else:
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "night").symlink_to(night.incoming)
        trees.register(tmp_path / "theirs", other, [str(tmp_path / "theirs" / "night" / Path(files[0]).name)])
    if where != "below":
        assert f"{other} is made of it too" in why(night)
    trees.release(night.incoming, other)
    if where != "below":
        assert why(night) is None


def test_a_note_of_a_tree_that_cannot_be_read_holds(night):
    (night.incoming / trees.FOLDER).mkdir()
    (night.incoming / trees.FOLDER / "x.json").write_text("{")
    assert "an unreadable record" in why(night)
