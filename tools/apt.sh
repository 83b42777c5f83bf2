#!/usr/bin/env bash
# tools/apt.sh PACKAGE... : install Debian packages if this user may, otherwise say which command would.
# Exit code 3: not allowed, or not a Debian.
set -euo pipefail

if [ "$(id -u)" -eq 0 ]; then
    as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n env)
else
    as_root=()
fi
if ! command -v apt-get >/dev/null || [ ${#as_root[@]} -eq 0 ]; then
    echo "Needed and not installed: $*. Ask an administrator to run:  apt-get install $*" >&2
    exit 3
fi

get() {
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@"
}

# An index that cannot be refreshed in full (one source of several down) may still know the packages.
install() {
    get update || echo "apt-get update had problems; trying to install all the same." >&2
    get install --yes --no-install-recommends "$@"
}

echo "Installing with apt-get: $*"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install "$@" >"$log" 2>&1 || { sleep 5; install "$@" >"$log" 2>&1; } || { tail -n 20 "$log" >&2; exit 1; }
