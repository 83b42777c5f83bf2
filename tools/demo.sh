#!/usr/bin/env bash
# tools/demo.sh : a small simulated night, with some faults in it, from raw files to a mosaic; then the mosaic against the truth.
# Everything stays under demo/; a second run makes only what is missing. CORES=N uses more than two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

demo=$PWD/demo
say() { printf '\n== %s\n' "$*"; }

say "1/4 Software"
tools/setup.sh
tools/wsclean.sh
SECONDS=0

say "2/4 A simulated night: demo/incoming"
if [ -e "$demo/incoming/truth.json" ]; then
    echo "Already there (make clean removes it)."
else
    rm -rf "$demo"
    .venv/bin/contimg simulate "$demo/incoming" --preset demo
fi

say "3/4 Raw files to a mosaic: demo/products"
.venv/bin/snakemake --cores "${CORES:-2}" mosaic --config incoming="$demo/incoming" products="$demo/products"

say "4/4 The mosaic and the truth"
.venv/bin/contimg compare --truth "$demo/incoming/truth.json" --products "$demo/products"
printf '\n%d min %02d s after the installation.\n' $((SECONDS / 60)) $((SECONDS % 60))
