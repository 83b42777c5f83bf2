#!/usr/bin/env bash
# tools/slurm.sh : whether this machine can start a SLURM for the tests, installing it if it may. Prints what pytest has to leave
# out: nothing, or the tests that need it. Only root can start one, and only where there is none already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

left_out() {
    echo "The tests through a real SLURM are left out: $1" >&2
    echo "--ignore=tests/e2e/test_slurm.py"
    exit 0
}

conf=/etc/slurm/slurm.conf
[ "$(id -u)" -eq 0 ] || left_out "only root can start one. In a fresh container, .ci/run runs them all."
if [ -e $conf ] && ! head -n 1 $conf | grep -q tests/slurm/cluster.sh; then
    left_out "this machine has a SLURM of its own ($conf)."
fi
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
    tools/apt.sh munge slurm-wlm >&2 || left_out "munge and slurm-wlm could not be installed."
fi
