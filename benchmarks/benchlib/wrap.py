"""Run a command and write what it and all its descendants cost; a script of its own so that nothing else is counted.

    python wrap.py COST.json COMMAND...

Linux adds the times and the bytes of a process to its parent when the parent waits for it: after the command has
ended, this process's own figures are the command's.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path


def bytes_moved() -> dict[str, int]:
    """Bytes that this process and its finished children passed through read() and write()."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}


def main() -> int:
    """Run, wait, write the cost; returns the command's exit status."""
    began = time.perf_counter()
    done = subprocess.run(sys.argv[2:], check=False)
    seconds = time.perf_counter() - began
    usage, moved = resource.getrusage(resource.RUSAGE_CHILDREN), bytes_moved()
    cost = {
        "seconds": seconds,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
        "read_gb": moved["rchar"] / 1e9,
        "written_gb": moved["wchar"] / 1e9,
    }
    Path(sys.argv[1]).write_text(json.dumps(cost))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
