"""What a product remembers of its raw files."""

import os
import shutil
from pathlib import Path

import pytest

from contimg.core.digests import READ_IN_FULL, fingerprint
from contimg.index.memory import PLAIN, Marks, note, recall
from contimg.index.subband import state_of
from contimg.index.tile import Slot

LONG_AGO_NS = 1_700_000_000 * 10**9
NOW_NS = LONG_AGO_NS + 3600 * 10**9
LARGE = READ_IN_FULL + 100_000


class Kept:
    """A raw file, and the sidecar of a product that was made of it."""

    def __init__(self, folder: Path, size: int, reason: str | None = None) -> None:
        self.path = folder / "2025-10-30T13:53:04_sb05.hdf5"
        self.path.write_bytes(os.urandom(size))
        os.utime(self.path, ns=(LONG_AGO_NS, LONG_AGO_NS))
        self.slot = Slot(str(self.path), 1.3e9, 48, 1e6)
        self.failed = reason is not None
        self.record = {"raw": note([self.slot]), "digests": {str(self.path): fingerprint(self.path)}}
        self.marks = Marks(folder / "cache")

    def recall(self, record=None):
        """What is recalled of the file now, and whether it is another than the product's."""
        found, others = recall(
            [self.slot],
            {str(self.path): state_of(self.path.stat())},
            self.record if record is None else record,
            failed=self.failed,
            now_ns=NOW_NS,
            mark_of=self.marks.of,
        )
        return found.get(str(self.path), PLAIN), bool(others)

    def copied_again(self, content: bytes) -> None:
        """Replace the file as `rsync -a` does: another inode, the old name and time."""
        part = self.path.with_suffix(".part")
        part.write_bytes(content)
        os.utime(part, ns=(LONG_AGO_NS, LONG_AGO_NS))
        part.replace(self.path)

    def written_over(self, content: bytes) -> None:
        """Replace what is in the file as `cp -p` does: the old inode and time."""
        self.path.write_bytes(content)
        os.utime(self.path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def changed(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize("how", ["copied_again", "written_over"])
@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_file_repaired_with_its_old_time_and_size_is_another(tmp_path, how, size):
    kept = Kept(tmp_path, size)
    getattr(kept, how)(changed(kept.path.read_bytes(), 100))
    assert kept.path.stat().st_mtime_ns == LONG_AGO_NS
    found, other = kept.recall()
    assert other
    assert found.mark is not None
    # the product that is then made knows the file by its mark: nothing is other any more
    slot = Slot(str(kept.path), 1.3e9, 48, 1e6, mark=found.mark)
    record = {"raw": note([slot]), "digests": {str(kept.path): fingerprint(kept.path)}}
    assert kept.recall(record) == (found, False)


@pytest.mark.parametrize("size", [5000, LARGE])
def test_the_same_bytes_again_are_the_same_file(tmp_path, size):
    kept = Kept(tmp_path, size)
    content = kept.path.read_bytes()
    kept.copied_again(content)
    assert kept.recall() == (PLAIN, False)
    kept.written_over(content)
    kept.path.chmod(0o640)
    os.link(kept.path, tmp_path / "archived")
    assert kept.recall() == (PLAIN, False)


def test_a_mere_touch_of_what_is_read_in_full_is_the_same_file_and_of_a_large_one_is_not_known(tmp_path):
    small = Kept(tmp_path, READ_IN_FULL)
    small.path.touch()
    assert small.recall() == (PLAIN, False)
    large = Kept(tmp_path, LARGE)
    large.path.touch()
    assert large.recall()[1]


def test_what_ended_with_an_error_is_tried_again_whatever_became_of_its_file(tmp_path):
    kept = Kept(tmp_path, LARGE, reason="error: damaged")
    assert kept.recall() == (PLAIN, False)
    kept.copied_again(kept.path.read_bytes())
    assert kept.recall()[1]


def test_a_time_ahead_of_the_clock_is_remembered_when_the_clock_has_passed_it(tmp_path):
    kept = Kept(tmp_path, 5000)
    os.utime(kept.path, ns=(NOW_NS + 1, NOW_NS + 1))
    found, other = kept.recall(record={})
    assert (found.ahead, other) == (True, False)
    slot = Slot(str(kept.path), 1.3e9, 48, 1e6, ahead=True)
    assert slot.params()["ahead"] is True
    record = {"raw": note([slot]), "digests": {}}
    later = recall(
        [kept.slot],
        {str(kept.path): state_of(kept.path.stat())},
        record,
        failed=False,
        now_ns=NOW_NS + 10**12,
        mark_of=kept.marks.of,
    )
    assert later == ({str(kept.path): found}, [])


def test_a_product_of_an_older_version_and_a_plain_file_change_no_parameters(tmp_path):
    kept = Kept(tmp_path, 5000)
    assert kept.recall(record={"status": "ok"}) == (PLAIN, False)
    assert set(kept.slot.params()) == {"path", "freq_low_hz", "n_channels", "channel_width_hz"}


def test_a_fingerprint_is_taken_once_for_a_state_and_a_cache_in_the_way_is_only_slow(tmp_path, monkeypatch):
    kept = Kept(tmp_path, LARGE)
    kept.copied_again(kept.path.read_bytes())
    kept.recall()
    kept.marks.save()
    monkeypatch.setattr(
        "contimg.index.memory.fingerprint", lambda path: pytest.fail(f"{path} was read again")
    )
    kept.marks = Marks(tmp_path / "cache")
    assert kept.recall() == (PLAIN, False)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no directory")
    kept.marks = Marks(tmp_path / "cache")
    assert kept.recall() == (PLAIN, False)
    kept.marks.save()
