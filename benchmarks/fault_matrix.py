"""Which gate sees which fault: small nights and strips with one fault each, through the jobs to their verdicts.

    make scorecard                                  docs/qa.md, with the rest of the scorecard
    python benchmarks/fault_matrix.py               the same alone
    python benchmarks/fault_matrix.py --only dish "phase screen"

Results are kept in benchmarks/results/faults/matrix.json, row by row; docs/qa.md is rendered from all of them.
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

from benchlib import fault_rows, faults, tile

RESULTS = tile.CLONE / "benchmarks" / "results" / "faults" / "matrix.json"
PAGE = tile.CLONE / "docs" / "qa.md"


def main() -> None:
    """Make the rows, keep them, write the matrix."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", metavar="FAULT", help="only these; with none, only the page")
    parser.add_argument("--folder", type=Path, help="keep the nights here")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="faults"))
    for fault in (*faults.STRIPS, *faults.NIGHTS):
        if arguments.only is not None and fault.name not in arguments.only:
            continue
        started = time.process_time()
        row = fault_rows.measure(fault, folder)
        rows[row["key"]] = {**row, "cpu_s": round(time.process_time() - started, 1)}
        print(f"{row['key']}: {', '.join(row['seen']) or 'nothing'}", file=sys.stderr, flush=True)
        RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    if arguments.folder is None:
        shutil.rmtree(folder)
    fault_rows.render(PAGE, rows)


if __name__ == "__main__":
    main()
