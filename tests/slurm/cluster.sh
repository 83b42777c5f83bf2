#!/usr/bin/env bash
# tests/slurm/cluster.sh start|stop|restart-controller : a real SLURM with two nodes on this machine, for the tests.
# Needs root, munge and slurm-wlm (Debian), and no systemd. Memory limits bite without cgroups: SLURM itself samples the
# jobs and kills what is over. There is no accounting. A machine that has a SLURM of its own is left alone.
set -euo pipefail

conf=/etc/slurm/slurm.conf   # where jobs look: they do not inherit SLURM_CONF
mark='# Written by tests/slurm/cluster.sh'
state=/var/lib/contimg-test-slurm
nodes=(node1 node2)

die() { printf '%s\n' "$@" >&2; exit 1; }

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

wait_for() {  # seconds, what, command...
    local tries=$(($1 * 10)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if ((--tries == 0)); then
            tail -n 20 "$state"/*.log >&2 || true
            die "$what did not come up; the ends of its logs are above."
        fi
        sleep 0.1
    done
}

configure() {
    local host
    host=$(hostname -s)
    cat >"$conf" <<END
$mark
ClusterName=contimg-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=17000
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/%n.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
MinJobAge=600
ReturnToService=2
KillWait=2
SlurmdTimeout=20
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=17001 CPUs=2 RealMemory=8000
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=17002 CPUs=2 RealMemory=8000
PartitionName=night Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
}

start_munge() {
    munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
    install -d -o munge -g munge -m 0755 /run/munge
    install -d -o munge -g munge -m 0700 /var/log/munge /var/lib/munge /etc/munge
    if [ ! -s /etc/munge/munge.key ]; then
        dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
    fi
    chown munge:munge /etc/munge/munge.key
    chmod 0400 /etc/munge/munge.key
    # munged refuses folders above its own that others may write to; a container's / can be such a one.
    setpriv --reuid munge --regid munge --clear-groups munged --force
    wait_for 20 munged sh -c 'munge -n | unmunge'
}

start_controller() {
    slurmctld "$@"
    wait_for 20 slurmctld scontrol ping
}

start() {
    [ "$(id -u)" -eq 0 ] || die "Only root can start a SLURM: run this as root, in a container for example."
    for tool in munged slurmctld slurmd squeue; do
        command -v "$tool" >/dev/null || die "$tool: not found; apt-get install munge slurm-wlm"
    done
    if [ -e "$conf" ] && [ "$(head -n 1 "$conf")" != "$mark" ]; then
        die "$conf: this machine has a SLURM of its own; it is left alone, and the tests need a machine without one."
    fi
    stop
    mkdir -p /etc/slurm "$state/ctld" "${nodes[@]/#/$state/}"
    configure
    start_munge
    start_controller -c
    for node in "${nodes[@]}"; do slurmd -N "$node"; done
    wait_for 30 "a node" sh -c '[ "$(sinfo --noheader --Node --states=idle | wc -l)" = 2 ]'
}

end() {  # the daemon of a pid file, and nothing else
    alive "$1" || return 0
    kill "$(cat "$1")"
    for _ in $(seq 100); do
        alive "$1" || return 0
        sleep 0.1
    done
    kill -KILL "$(cat "$1")"
}

stop() {
    if alive "$state/slurmctld.pid"; then scancel --user root || true; fi
    for node in "${nodes[@]}"; do end "$state/$node.pid"; done
    end "$state/slurmctld.pid"
    rm -rf "$state"
    if [ -e "$conf" ] && [ "$(head -n 1 "$conf")" = "$mark" ]; then rm "$conf"; fi
}

case ${1:-} in
    start) start ;;
    stop) stop ;;
    restart-controller) end "$state/slurmctld.pid" && start_controller ;;
    *) die "usage: $0 start|stop|restart-controller" ;;
esac
