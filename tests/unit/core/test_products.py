import json

import pytest

from contimg.core.errors import InputError
from contimg.core.products import building, read_json, remove, status, write_json


def test_a_product_appears_complete(tmp_path):
    final = tmp_path / "images" / "tile"
    with building(final) as part:
        part.mkdir()
        (part / "a.fits").write_text("pixels")
        assert not final.exists()
    assert (final / "a.fits").read_text() == "pixels"
    assert [path.name for path in final.parent.iterdir()] == ["tile"]


def test_a_product_that_fails_leaves_nothing(tmp_path):
    final = tmp_path / "tile.ms"

    def fail():
        with building(final) as part:
            part.mkdir()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_parts_of_killed_jobs_are_removed_and_those_of_other_products_are_not(tmp_path):
    (tmp_path / "tile.part.99999").mkdir()
    (tmp_path / "tile2.part.99999").mkdir()
    with building(tmp_path / "tile") as part:
        part.write_text("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tile", "tile2.part.99999"]


def test_an_older_product_is_replaced_whole(tmp_path):
    final = tmp_path / "tile"
    for content in ("old", "new"):
        with building(final) as part:
            part.mkdir()
            (part / content).write_text(content)
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["tile"]


def test_a_step_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nothing was written"), building(tmp_path / "tile"):
        pass


def test_status_says_rejected_exactly_when_there_is_a_reason(tmp_path):
    good = status(inputs=["a"], metrics={"rms_jy": 1e-3}, tiles=[])
    assert (good["status"], good["reason"], good["tiles"]) == ("ok", None, [])
    assert good["versions"]["python"]
    bad = status("all flagged")
    assert (bad["status"], bad["reason"]) == ("rejected", "all flagged")


def test_json_is_written_in_one_rename_and_nan_is_refused(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    path.write_text('{"a": ')
    with pytest.raises(InputError, match=r"status\.json"):
        read_json(path)


def test_remove_takes_files_directories_and_nothing(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "f").write_text("x")
    for name in ("d", "f", "absent"):
        remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_product_built_elsewhere_appears_whole_and_leaves_nothing_there(tmp_path):
    staged, final = tmp_path / "fast", tmp_path / "tree" / "tile.ms"
    staged.mkdir()
    with building(final, staged) as part:
        assert part.parent == staged
        (part / "ANTENNA").mkdir(parents=True)
        (part / "ANTENNA" / "table.dat").write_bytes(b"names")
        (part / "table.dat").write_bytes(b"data")
        assert not final.parent.exists() or list(final.parent.iterdir()) == []
    assert (final / "ANTENNA" / "table.dat").read_bytes() == b"names"
    assert (final / "table.dat").read_bytes() == b"data"
    assert list(final.parent.iterdir()) == [final]
    assert list(staged.iterdir()) == []


def test_a_file_can_be_built_elsewhere_too_and_an_error_leaves_the_old_one(tmp_path):
    staged, final = tmp_path / "fast", tmp_path / "tree" / "tile.fits"
    staged.mkdir()
    with building(final, staged) as part:
        part.write_text("first")
    with pytest.raises(InputError, match="nothing was written"), building(final, staged):
        pass
    assert final.read_text() == "first"
    assert list(final.parent.iterdir()) == [final]


def test_what_one_may_not_read_is_not_to_be_deleted(tmp_path, monkeypatch):
    def not_ours(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_text", not_ours)
    with pytest.raises(InputError, match=r"status\.json: you may not read it") as caught:
        read_json(tmp_path / "status.json")
    assert "delete" not in str(caught.value)
