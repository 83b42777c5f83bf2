#!/usr/bin/env bash
# tools/lint.sh : every check that reads code and does not run it. All of them run; the exit code tells whether one failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/incoming"
failed=()

check() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1; then
        printf '  ok      %-16s %3d s\n' "$name" $((SECONDS - start))
    else
        printf '  FAILED  %-16s %s\n' "$name" "$*"
        cat "$work/log"
        failed+=("$name")
    fi
}

echo "Checking the code"
check ruff ruff check --quiet .
check "ruff format" ruff format --quiet --diff .
check snakefmt snakefmt --check --diff Snakefile rules
# The rules are the same whatever the data: an empty night is enough.
check "snakemake --lint" snakemake --lint --config incoming="$work/incoming" products="$work/products"
check codespell codespell
check mypy mypy
check import-linter lint-imports --no-cache
check deptry deptry --no-ansi scripts

if [ ${#failed[@]} -gt 0 ]; then
    echo "Failed: ${failed[*]}"
    exit 1
fi
