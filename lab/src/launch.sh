# Starts a lab host's init and returns. Joins the host's cgroups first, so that the cgroup namespace
# that init gets begins there. Nothing of ours stays open in it. For bash: others close no descriptor above 9.
# usage: launch.sh NETNS INIT LOG CGROUP-PROCS... -- ARGUMENT...
set -eu
netns=$1 init=$2 log=$3
shift 3
while [ "$1" != -- ]; do
    echo $$ >"$1"
    shift
done
shift
cd /
# Nor of our caller's: a pipe or a lock of its would be held for as long as the host runs.
for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || eval "exec $fd>&-"
done
setsid -f nsenter --net="$netns" \
    unshare --mount --pid --uts --ipc --cgroup --fork sh -c "$init" init "$@" \
    </dev/null >"$log" 2>&1
