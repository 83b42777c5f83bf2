#!/usr/bin/env bash
# tools/wsclean.sh : add WSClean if this machine has none and this user may. Never fails: CASA tclean can image too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v wsclean >/dev/null; then
    tools/apt.sh wsclean || true
fi
if command -v wsclean >/dev/null; then
    echo "Imaging with WSClean: $(command -v wsclean)"
else
    echo "No WSClean here: 'imaging.backend: auto' will image with CASA tclean, which is installed."
fi
