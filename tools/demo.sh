#!/usr/bin/env bash
# tools/demo.sh : a small simulated night, with some faults in it, from raw files to mosaics, verdicts and light curves; then the mosaics
# against the truth.
# Everything stays under demo/; a second run makes only what is missing. CORES=N uses more than two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

demo=$PWD/demo
say() { printf '\n== %s\n' "$*"; }

say "1/5 Software"
tools/setup.sh
tools/wsclean.sh
SECONDS=0

say "2/5 A simulated night: demo/incoming"
if [ -e "$demo/incoming/truth.json" ]; then
    echo "Already there (make clean removes it)."
else
    rm -rf "$demo"
    .venv/bin/contimg simulate "$demo/incoming" --preset demo
fi
# every command on this night needs the same settings: with others it would make the products again
cat > "$demo/night.yaml" <<END
incoming: "$demo/incoming"
products: "$demo/products"
catalog: "$demo/incoming/sources.csv"
END

say "3/5 Raw files to light curves: demo/products, with the settings of demo/night.yaml"
.venv/bin/snakemake --cores "${CORES:-2}" --configfile "$demo/night.yaml"

say "4/5 The mosaics and the truth"
# beside it what `contimg query` asks
.venv/bin/contimg registry build --products "$demo/products" > "$demo/registry.log" 2>&1 &
registry=$!
.venv/bin/contimg compare --truth "$demo/incoming/truth.json" --products "$demo/products"
wait "$registry" || { cat "$demo/registry.log"; exit 1; }
cat "$demo/registry.log"
say "5/5 Pages to open"
for page in index.html 'qa/*.html' 'plan/*.report.html'; do
    for path in "$demo/products"/$page; do
        if [ -e "$path" ]; then echo "  $path"; fi
    done
done
printf '\n%d min %02d s after the installation.\n' $((SECONDS / 60)) $((SECONDS % 60))
printf 'Next: source .venv/bin/activate; contimg sources %s --top 5\n' "$(ls -d demo/products/mosaics/*/* | head -1)"
printf 'Settings of this night: --configfile demo/night.yaml, for contimg and snakemake. docs/first_hour.md goes on from here.\n'
