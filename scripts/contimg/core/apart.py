"""Fingerprints taken in a process of its own: reading a damaged table can end a process, and that is not to be ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contimg.core import processes

_PATIENCE_S = 600.0


def has_arrays(path: Path) -> bool:
    """Whether a product holds casacore's files for arrays, which only casacore reads."""
    return path.is_dir() and next(path.rglob("table.f*i"), None) is not None


class Fingerprints:
    """Takes fingerprints; those of tables in a child that is started when one is needed, and again if it dies."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def of(self, path: Path) -> str | None:
        """Fingerprint of what lies at a path; None if nothing does; words where reading it ends the reader."""
        from contimg.core.digests import fingerprint

        if not has_arrays(path):
            return fingerprint(path)
        child = self._started()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(str(path)).encode() + b"\n")
            child.stdin.flush()
            answer = child.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if answer:
            found: str | None = json.loads(answer)
            return found
        code = child.wait()
        self._child = None
        return f"unreadable: reading it ended with {-code if code < 0 else code}"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            self._child = processes.start_module("contimg.core.apart", "", pipes=True)
        return self._child

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


@contextmanager
def fingerprints() -> Iterator[Fingerprints]:
    """Fingerprints, with their child ended at the end."""
    taken = Fingerprints()
    try:
        yield taken
    finally:
        taken.close()


def main() -> None:
    """Answer paths on standard input with their fingerprints, one a line."""
    import signal

    from contimg.core.digests import fingerprint

    for line in sys.stdin:
        signal.alarm(round(_PATIENCE_S))  # a damaged length can be read for ever
        try:
            mark: str | None = fingerprint(Path(json.loads(line)))
        except (OSError, ValueError, MemoryError, RuntimeError) as error:
            mark = f"unreadable: {type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(mark) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
