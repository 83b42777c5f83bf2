"""How long `snakemake -n` takes for a night, beside an empty Snakefile, in the same run.

    python benchmarks/bench_plan.py [--tiles 288]

Makes a night of small but valid raw files in a temporary directory, plans it cold (headers are read), plans it
warm (only directories are), makes its page with `contimg plan`, and plans an empty Snakefile; prints a table of
seconds: wall, and processor time, which hardly depends on what else the machine does.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_index import Writer

CLONE = Path(__file__).parents[1]


def show(name: str, arguments: list[str], cwd: Path, *, check: bool = True) -> None:
    """Print wall and processor time of a command; with `check` it must succeed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, cwd=cwd, check=check, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{name:26s} {wall:6.2f} s  {processor:6.2f} s", flush=True)


def main() -> None:
    """Make the night, time the plans, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=288)
    tiles = parser.parse_args().tiles
    snakemake = [sys.executable, "-m", "snakemake", "-n"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "incoming").mkdir()
        writer = Writer(folder / "incoming", flat=False)
        for number in range(tiles):
            writer.write(number)
        (folder / "Snakefile").write_text("rule all:\n    input: []\n")
        pairs = ["--config", f"incoming={folder}/incoming", f"products={folder}/products"]
        plan = [*snakemake, "all", *pairs]
        print(f"{'':26s} {'wall':>6s}    {'processor':>6s}")
        show("empty Snakefile", snakemake, folder)
        show(f"{tiles} tiles, cold", plan, CLONE)
        for number in (1, 2, 3):
            show(f"{tiles} tiles, warm ({number})", plan, CLONE)
        # exit status 1 is a verdict: it does not fit on this disk
        command = [sys.executable, "-m", "contimg.cli.main", "plan", *pairs]
        show("contimg plan, warm", command, CLONE / "scripts", check=False)


if __name__ == "__main__":
    main()
