#!/usr/bin/env bash
# tools/test.sh [TESTS...] : the tests on two workers (WORKERS=n; each may take 8 GB), then what the twenty slowest took, and the
# whole. If none are named: all of them, with the lint beside them. tests/conftest.py says which tests share a worker.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
tests=("$@")
lint=
if [ $# -eq 0 ]; then
    read -ra tests <<<"$(tools/slurm.sh)" || true
    tools/lint.sh >"$work/lint" 2>&1 &
    lint=$!
    # Two workers would both compile the same loops (a minute): one tile first compiles them, while the lint has the other core.
    {
        .venv/bin/contimg simulate --preset tiny "$work/incoming"
        .venv/bin/snakemake --cores 1 image --config incoming="$work/incoming" products="$work/products" \
            "imaging={quality_tier: development, imsize: 512}"
    } >"$work/tile" 2>&1 || { tail -n 30 "$work/tile"; echo "A single tile fails: the tests will tell more."; }
fi

.venv/bin/python -m pytest --numprocesses "${WORKERS:-2}" --dist loadgroup --no-loadscope-reorder --durations 20 \
    ${tests[@]+"${tests[@]}"} || status=1
if [ -n "$lint" ]; then
    wait "$lint" || status=1
    cat "$work/lint"
fi
echo "Tested in $((SECONDS / 60)) min $((SECONDS % 60)) s"
exit "$status"
