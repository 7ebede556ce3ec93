# A running container from outside, all in one pass: what its processes have open, mapped and locked.
# It only reads. $1 is the container's name or id; with `glance` as $2 it does not wait, and measures nothing.
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	PODMAN_IGNORE_CGROUPSV1_WARNING=1
	export LC_ALL PATH PODMAN_IGNORE_CGROUPSV1_WARNING
	umask 077
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship container 1 %s\n' "$mark"
	limit=
	if command -v timeout >/dev/null 2>&1; then limit='timeout -k 2 30'; fi

	# A name stands before the start of an id, which both engines take as well.
	engine=
	for one in docker podman; do
		if found=$($limit "$one" container inspect -f '{{.Name}} {{.Id}} {{.State.Pid}}' "$1" 2>/dev/null); then
			case $found in
			"$1 "* | "/$1 "*)
				engine=$one known=$found
				break
				;;
			*) [ -n "$engine" ] || engine=$one known=$found ;;
			esac
		fi
	done
	section engine printf '%s' "$engine"
	if [ -z "$engine" ]; then return; fi
	section inspect $limit "$engine" container inspect "$1"
	pid=${known##* }
	id=${known% *}
	id=${id#* }
	section pid printf '%s' "$pid"
	if ! [ -d "/proc/$pid" ] || [ "$pid" = 0 ]; then return; fi
	section mountinfo cat "/proc/$pid/mountinfo"
	section locks cat /proc/locks
	if [ "$2" != glance ]; then
		section networks networks "$1"
		section size size "$1"
	fi
	binds=$($limit "$engine" container inspect -f '{{range .Mounts}}{{if eq .Type "bind"}}{{.Destination}}{{"\n"}}{{end}}{{end}}' "$1")
	for table in tcp tcp6 udp udp6 udplite raw raw6 icmp packet netlink unix; do
		if [ -r "/proc/$pid/net/$table" ]; then section "net.$table" cat "/proc/$pid/net/$table"; fi
	done
	section unix-peers $limit nsenter -t "$pid" -n ss -x -a -n -H
	pids=$(grep -l -F "$id" /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3)
	[ "$2" = glance ] || section activity.first activity $pid $pids
	for one in $pid $pids; do
		if [ "$one" = "$pid" ] && [ -n "$seen" ]; then continue; fi
		seen=1
		# conmon is Podman's, and watches from outside.
		case $(cat "/proc/$one/comm" 2>/dev/null) in conmon) continue ;; esac
		process "$one" "$2"
	done
	if [ "$2" = glance ]; then return; fi
	# What it does in a second, seen from outside: nothing of it is slowed down or reset by this.
	sleep 1
	section activity.last activity $pid $pids
}

# The networks that it is in, as the engine describes them.
networks() {
	names=$($limit "$engine" container inspect -f '{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{end}}' "$1")
	if [ -n "$names" ]; then $limit "$engine" network inspect $names; fi
}

# What of it lies on the disk: the image in bytes, and in KiB the layer that it writes and its volumes.
size() {
	image=$($limit "$engine" container inspect -f '{{.Image}}' "$1")
	printf 'image %s\n' "$($limit "$engine" image inspect -f '{{.Size}}' "$image")"
	$limit "$engine" container inspect -f '{{.GraphDriver.Data.UpperDir}}{{range .Mounts}}{{if eq .Type "volume"}}{{"\n"}}{{.Source}}{{end}}{{end}}' "$1" |
		while IFS= read -r folder; do
			case $folder in
			/*) printf 'folder %s\n' "$(${limit:+timeout -k 2 10} du -skx "$folder" 2>/dev/null | cut -f1)" ;;
			esac
		done
}

# Files of bind mounts that a process has mapped, and their sizes.
mapped() {
	sed -n 's,^[^/]* \(/.*\)$,\1,p' "/proc/$1/maps" | sort -u | while IFS= read -r file; do
		printf '%s\n' "$binds" | while IFS= read -r bind; do
			case $file in
			"${bind:-/dev/null}"/* | "${bind:-/dev/null}") stat -L -c '%s|%F|%n' "/proc/$1/root$file" 2>/dev/null ;;
			esac
		done
	done | sort -u
}

# Time, pages touched and time on a processor so far. grep reads a whole file at once.
activity() {
	printf 'page %s\n' "$(getconf PAGESIZE)"
	printf 'uptime %s\n' "$(cat /proc/uptime)"
	for one in "$@"; do
		grep -sH '' "/proc/$one/stat" /proc/"$one"/task/*/schedstat
	done
}

process() {
	section "process.$1.status" status "$1"
	section "process.$1.fd" ls -ln "/proc/$1/fd"
	section "process.$1.stat" stat -L -c '%n|%h|%b|%s|%F' /proc/"$1"/fd/*
	section "process.$1.fdinfo" grep -H -E '^(inotify|fanotify|lock):?' -r "/proc/$1/fdinfo"
	section "process.$1.maps" grep -E '\(deleted\)|/dev/|SYSV|hugepage|anon_inode' "/proc/$1/maps"
	if [ -n "$binds" ]; then section "process.$1.mapped" mapped "$1"; fi
	[ "$2" = glance ] || section "process.$1.memory" memory "$1"
	section "process.$1.timers" cat "/proc/$1/timers"
	section "process.$1.arch" cat "/proc/$1/arch_status"
}

status() {
	cat "/proc/$1/status"
	printf 'Exe:\t%s\n' "$(readlink "/proc/$1/exe")"
}

memory() {
	cat "/proc/$1/smaps_rollup" 2>/dev/null || cat "/proc/$1/smaps"
}

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

probe "$2" "$3" </dev/null
