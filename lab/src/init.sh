#!/bin/sh
# First process of a lab host, in new mount, pid, uts, ipc and cgroup namespaces and in the host's
# network namespace. All mounts are made here, so that they vanish with the host.
# usage: init.sh FOLDER LOWER NAME HIERARCHY...
#   FOLDER     the host's folder: upper, work, root, docker, containers, and init, which we write
#   LOWER      the root file system, shared and never written
#   HIERARCHY  mount options of a cgroup v1 hierarchy, or `cgroup2`
set -eu
folder=$1 lower=$2 name=$3
shift 3

# Our pid and start time as the outside sees them: /proc is still the outer one, and the
# redirection is the shell's own.
read -r stat </proc/self/stat
exec 3>"$folder/init"
set -f
fields() { echo "$1 ${22}" >&3; }
# shellcheck disable=SC2086 # to be split
fields $stat

mount --make-rprivate /
mount -t overlay -o "lowerdir=$lower,upperdir=$folder/upper,workdir=$folder/work" lab "$folder/root"
cd "$folder/root"
# Overlay on overlay does not work: what engines keep lies on the disk itself.
mkdir -p old var/lib/docker var/lib/containers
mount --bind "$folder/docker" var/lib/docker
mount --bind "$folder/containers" var/lib/containers

mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty fuse kmsg; do
    [ -e "/dev/$device" ] || continue
    : >"dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
if [ -d /dev/net ]; then
    mkdir dev/net
    mount --rbind /dev/net dev/net
fi
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/sshd run/lock

# In our cgroup namespace each of these shows only what is below our own cgroup.
if [ "$1" = cgroup2 ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 cgroup sys/fs/cgroup
    for options; do
        at=${options#name=}
        mkdir "sys/fs/cgroup/$at"
        case $options in
            name=*) mount -t cgroup -o "none,$options" cgroup "sys/fs/cgroup/$at" ;;
            *) mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$at" ;;
        esac
        # cpu,cpuacct is reached as cpu and as cpuacct too.
        case $at in
            *,*)
                for one in $(echo "$at" | tr , ' '); do
                    ln -s "$at" "sys/fs/cgroup/$one"
                done
                ;;
        esac
    done
fi

# A plain chroot is not enough: CRIU wants to find the root mount's parent.
pivot_root . old
cd /
umount -l /old
rmdir /old
hostname "$name"
echo ready >&3
# tini reaps what daemons leave behind.
exec tini -- sleep infinity </dev/null >/dev/null 2>&1 3>&-
