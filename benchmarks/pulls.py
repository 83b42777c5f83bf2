"""Are the errors of fluxes true: realistic nights from raw files to photometry, against the truth.

    python benchmarks/pulls.py                     eight nights, a CPU minute each; docs/photometry.md
    python benchmarks/pulls.py --nights 2 --folder /tmp/pulls
    python benchmarks/pulls.py --nights 0          only the page, from the results that are kept

Every flux is kept in benchmarks/results/pulls/pulls.json, night by night; nights that are there are not made again.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from benchlib import pull_tables, pulls, tile

RESULTS = tile.CLONE / "benchmarks" / "results" / "pulls" / "pulls.json"
PAGE = tile.CLONE / "docs" / "photometry.md"


def main() -> None:
    """Make the nights, keep their fluxes, write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", type=int, default=8, help="how many")
    parser.add_argument("--folder", type=Path, help="keep the nights here")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    kept = json.loads(arguments.results.read_text()) if arguments.results.is_file() else {}
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="pulls"))
    for night in pulls.nights(arguments.nights):
        if night.name in kept:
            continue
        started = time.process_time()
        rows, about = pulls.measure(night, folder)
        about["cpu_s"] = round(time.process_time() - started, 1)
        kept[night.name] = pulls.to_json(rows, about)
        print(f"{night.name}: {len(rows)} fluxes, {about}", file=sys.stderr, flush=True)
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text(json.dumps(kept) + "\n")
    if arguments.folder is None:
        shutil.rmtree(folder)
    rows = pd.concat([pulls.from_json(*night) for night in kept.items()], ignore_index=True)
    lines = pull_tables.page(rows)
    pull_tables.render(arguments.page, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
