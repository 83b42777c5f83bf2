"""What the noise of tiles is made of: thermal, what the fit takes, sidelobes of the sky that is in no model.

    python benchmarks/noise_budget.py --night demo       the night that `make demo` leaves, its table on the screen
    python benchmarks/noise_budget.py --night DIR        any simulated night: DIR/incoming, DIR/products

docs/image.md ("Noise on a real sky") has the result.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchlib import noise_budget

from contimg.core import names
from contimg.core.products import read_json
from contimg.simulate.truth import read_truth


def main() -> None:
    """Print a line for each tile that has an image."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--night", type=Path, required=True, help="with incoming/ and products/ in it")
    arguments = parser.parse_args()
    truth, products = read_truth(arguments.night / "incoming"), arguments.night / "products"
    print(
        "| tile | fitted | in no model | measured, mJy | thermal | with what the fit takes | sidelobes | together |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for tile in truth.tiles:
        status = products / names.image_dir(tile.name) / "status.json"
        if not status.is_file() or read_json(status)["status"] != "ok":
            continue
        found = noise_budget.measure(truth, tile, products)
        parts = (found.measured_jy, found.thermal_jy, found.fit_jy, found.sidelobes_jy, found.expected_jy)
        shown = " | ".join(f"{1e3 * part:.2f}" for part in parts)
        print(f"| {tile.name} | {found.n_fitted} | {found.n_left} | {shown} |")


if __name__ == "__main__":
    main()
