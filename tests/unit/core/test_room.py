import os
from types import SimpleNamespace

import pytest

from contimg.core import products, room
from contimg.core.errors import DiskFull, Rejected


def test_where_there_is_room_nothing_is_lacking(tmp_path):
    assert room.lacking(tmp_path / "not" / "yet") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"f_bavail": 10}, "the disk is full"),
        ({"f_favail": 1}, "no more files can be made"),
        ({"f_flag": os.ST_RDONLY}, "read-only"),
    ],
)
def test_what_is_lacking_is_asked_of_the_file_system(tmp_path, monkeypatch, changes, said):
    real = os.statvfs(tmp_path)
    names = ("f_flag", "f_files", "f_favail", "f_bavail", "f_frsize")
    state = SimpleNamespace(**({name: getattr(real, name) for name in names} | changes))
    monkeypatch.setattr("contimg.core.room.os.statvfs", lambda _: state)
    assert said in room.lacking(tmp_path)


def test_a_product_that_fails_while_the_disk_is_full_failed_for_that(tmp_path, monkeypatch):
    """Asked before what was written is taken away: then there would be room again."""
    asked = []

    def lacking(place):
        asked.append(sorted(path.name.split(".part.")[0] for path in tmp_path.iterdir()))
        return "the disk is full"

    monkeypatch.setattr("contimg.core.room.lacking", lacking)

    def fails():
        with products.building(tmp_path / "image") as part:
            part.mkdir()
            raise Rejected("the image has no peak")

    with pytest.raises(DiskFull, match="make room"):
        fails()
    assert asked == [["image"]]
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_part_that_a_killed_publisher_left_is_in_nobodys_way(tmp_path, monkeypatch):
    stale = tmp_path / "v1.part.host.1"
    stale.mkdir()
    (stale / "a.fits").write_text("x")
    stale.chmod(0o555)
    changed = []
    monkeypatch.setattr(
        "contimg.core.products.os.access", lambda path, mode: False
    )  # an ordinary user's eyes
    chmod = type(stale).chmod
    monkeypatch.setattr(type(stale), "chmod", lambda path, mode: (changed.append(mode), chmod(path, mode)))
    with products.building(tmp_path / "v1") as part:
        part.mkdir()
    assert changed[0] == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]
