"""How long `snakemake -n` takes for a night, beside an empty Snakefile, in the same run.

    python benchmarks/bench_plan.py [--tiles 288]

Makes a night of small but valid raw files in a temporary directory, plans it cold (headers are read), plans it
warm (only directories are), and plans an empty Snakefile; prints a table of seconds.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_index import Writer

CLONE = Path(__file__).parents[1]


def seconds(arguments: list[str], cwd: Path) -> float:
    """Wall time of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run(arguments, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


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
        plan = [
            *snakemake,
            "mosaic",
            "--config",
            f"incoming={folder}/incoming",
            f"products={folder}/products",
        ]
        print(f"{'empty Snakefile':24s} {seconds(snakemake, folder):6.2f} s")
        print(f"{tiles} tiles, cold{'':11s} {seconds(plan, CLONE):6.2f} s")
        for number in (1, 2, 3):
            print(f"{tiles} tiles, warm ({number}){'':7s} {seconds(plan, CLONE):6.2f} s")


if __name__ == "__main__":
    main()
