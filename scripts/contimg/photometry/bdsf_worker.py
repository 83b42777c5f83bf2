"""What runs in PyBDSF's own environment: an image in, a list of places out. It imports nothing of the pipeline.

`python bdsf_worker.py IMAGE OUT THRESHOLD`: OUT is CSV, `ra_deg, dec_deg, peak_jy, flux_jy, rms_jy`.
"""

import csv
import importlib
import sys
from pathlib import Path


def main(image: str, out: str, threshold: str) -> None:
    """Search an image and write what is found."""
    bdsf = importlib.import_module("bdsf")
    found = bdsf.process_image(image, thresh_pix=float(threshold), thresh_isl=3.0, ncores=1, quiet=True)
    with Path(out).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("ra_deg", "dec_deg", "peak_jy", "flux_jy", "rms_jy"))
        for source in found.sources:
            rows.writerow(
                (*source.posn_sky_centroid, source.peak_flux_max, source.total_flux, source.rms_isl)
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
