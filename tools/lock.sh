#!/usr/bin/env bash
# tools/lock.sh : make requirements.lock from pyproject.toml: exact versions, the hashes of every file of each release, no
# addresses. Versions that still fit stay as they are; `UPGRADE=1 make lock` takes the newest of all.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check install --quiet 'uv==0.13.9'

# Start from the present lock, so that what still fits stays. uv does not read pip's configuration: a machine's own mirrors do not get in.
if [ -f requirements.lock ]; then cp requirements.lock "$work/new.lock"; fi
"$work/venv/bin/uv" pip compile pyproject.toml --all-extras ${UPGRADE:+--upgrade} \
    --universal --python-version 3.11 --fork-strategy fewest \
    --only-binary :all: --no-binary connection-pool \
    --generate-hashes --no-header --no-annotate --no-emit-index-url \
    --quiet --output-file "$work/new.lock"

# Every line repeats for which machines it was resolved (tool.uv.environments): tools/setup.sh checks that, once.
sed -E -i \
    -e "s/ ;( python_full_version < '3\.14' and)? platform_machine == 'x86_64' and sys_platform == 'linux'//" \
    -e "s/ and platform_machine == 'x86_64'//; s/ and platform_python_implementation != 'PyPy'//; s/ and sys_platform == 'linux'//" \
    -e "s/ ; python_full_version < '3\.14' (\\\\?)$/ \1/" \
    "$work/new.lock"
if grep -n -E '://|^-|file:| @ ' "$work/new.lock"; then
    echo "The new lock holds addresses or options (lines above); requirements.lock is unchanged." >&2
    exit 1
fi
{ echo "# Made by \`make lock\` from pyproject.toml. Do not edit."; cat "$work/new.lock"; } >requirements.lock
echo "requirements.lock: $(grep -c '^[a-z0-9]' requirements.lock) packages"
