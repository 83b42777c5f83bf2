#!/usr/bin/env bash
# tools/setup.sh : make .venv with everything in requirements.lock (hashes checked) and this clone, editable.
# Does nothing if .venv already is what the lock, pyproject.toml and the place of the clone ask for.
# PYTHON=/path/to/python3.11 chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf '%s\n' "$@" >&2; exit 1; }

if [ "$(uname -s) $(uname -m)" != "Linux x86_64" ]; then
    die "CASA, casacore and AOFlagger come as wheels for Linux on x86_64; this is $(uname -s) on $(uname -m)."
fi

# CASA's wheels end at 3.13.
fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }
python=
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
    if fits "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    name=${PYTHON:-python3}
    die "Expected Python 3.11, 3.12 or 3.13 as $name; found: $(command -v "$name" >/dev/null && "$name" --version 2>&1 || echo none)." \
        "Install one (Debian 12 and newer: apt-get install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3.11"
fi

wanted=$({ cat requirements.lock pyproject.toml; "$python" -c 'import sys; print(sys.version)'; pwd; } | sha256sum)
stamp=.venv/setup.stamp
if [ -x .venv/bin/snakemake ] && [ -x .venv/bin/contimg ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian ships venv apart from Python.
    tools/apt.sh python3-venv || die "Without python3-venv there can be no .venv."
    "$python" -c 'import ensurepip, venv' 2>/dev/null \
        || die "$python has no venv module, and Debian's python3-venv does not belong to it." \
               "Try another one: make setup PYTHON=/usr/bin/python3"
fi

echo "Making .venv with $("$python" --version)"
rm -rf .venv
"$python" -m venv .venv

# Only what the lock names comes from the network: wheels, and one package that has none (connection-pool). The lock's own
# pip and setuptools go first: they install the rest, build that one, and this clone.
pip_install() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input install --progress-bar off "$@"
}
count=$(grep -c '^[a-z0-9]' requirements.lock)
progress() {
    awk -v count="$count" '
        /^Collecting / { if (++n % 20 == 0) printf "  %d of about %d packages\n", n, count; fflush() }
        /^Installing collected packages/ { print "  unpacking"; fflush() }'
}
twice() { "$@" || { echo "Once more in 10 s." >&2; sleep 10; "$@"; }; }
first=$(mktemp)
trap 'rm -f "$first"' EXIT
awk '/^(pip|setuptools)==/ { on = 1 } on { print } !/\\$/ { on = 0 }' requirements.lock >"$first"

install_lock() {
    pip_install --quiet --require-hashes --only-binary :all: -r "$first" \
        && pip_install --require-hashes --no-build-isolation --use-pep517 \
            --only-binary :all: --no-binary connection-pool -r requirements.lock | progress
}
echo "Installing $count packages from requirements.lock (0.9 GB to download the first time)"
twice install_lock || die "pip could not install what requirements.lock asks for: see its message above."
pip_install --quiet --no-deps --no-build-isolation --editable .

.venv/bin/snakemake --version >/dev/null || die "The new .venv/bin/snakemake does not start: see its message above."
echo "$wanted" >"$stamp"
echo "Ready: .venv/bin/snakemake, .venv/bin/contimg"
