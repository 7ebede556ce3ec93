# Facts about this host, all in one pass. It only reads. What a host does not have is left out or
# said so; no single command may hang the pass, and none may read the rest of this script as its input.
probe() {
	LC_ALL=C
	LANG=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	PODMAN_IGNORE_CGROUPSV1_WARNING=1
	export LC_ALL LANG PATH PODMAN_IGNORE_CGROUPSV1_WARNING
	umask 077
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship facts 1 %s\n' "$mark"
	release=$(uname -r)
	limit=
	if has timeout; then limit='timeout -k 2 30'; fi

	section clock.first date +%s.%N
	section os-release first_of /etc/os-release /usr/lib/os-release
	section uname kernel_names
	section bits getconf LONG_BIT
	section boot boot
	section kernel-config kernel_config
	section modules modules
	section cpuinfo sed '/^$/q' /proc/cpuinfo
	section lscpu limited lscpu
	section xsave xsave
	section meminfo cat /proc/meminfo
	section cgroup cgroup
	section lsm lsm
	section status cat /proc/self/status
	section sysctl sysctls
	section namespaces ls /proc/self/ns
	section libc libc
	section identity identity
	section init init
	section packages packages
	section tools tools
	section criu-files criu_files
	section iptables-chains iptables_chains
	section leftovers leftovers
	versions
	engines
	section disks disks
	section clock.last date +%s.%N
}

has() { command -v "$1" >/dev/null 2>&1; }

# section NAME COMMAND ARG...: what the command says, between two lines that nothing else can print.
section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

limited() { $limit "$@"; }

first_of() {
	for file in "$@"; do
		if [ -r "$file" ]; then
			cat "$file"
			return
		fi
	done
	return 1
}

kernel_names() {
	uname -s
	printf '%s\n' "$release"
	uname -v
	uname -m
	uname -n
}

boot() {
	printf 'boot_id %s\n' "$(cat /proc/sys/kernel/random/boot_id)"
	printf 'uptime %s\n' "$(cat /proc/uptime)"
	printf 'clocksource %s\n' "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
	if has systemd-detect-virt; then printf 'virt %s\n' "$(limited systemd-detect-virt --vm)"; fi
	if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then printf 'container yes\n'; fi
}

# Only the options that someone asks for: a whole configuration is a quarter of a megabyte.
kernel_config() {
	names='CHECKPOINT_RESTORE|NAMESPACES|UTS_NS|IPC_NS|PID_NS|NET_NS|USER_NS|TIME_NS|FHANDLE|EVENTFD|EPOLL'
	names="$names|UNIX|UNIX_DIAG|INET_DIAG|INET_TCP_DIAG|INET_UDP_DIAG|INET_RAW_DIAG|PACKET_DIAG|NETLINK_DIAG"
	names="$names|NETFILTER_XT_MARK|TUN|INOTIFY_USER|FANOTIFY|MEM_SOFT_DIRTY|USERFAULTFD|SECCOMP|SECCOMP_FILTER"
	names="$names|CGROUPS|CGROUP_FREEZER|CGROUP_DEVICE|CGROUP_PIDS|CPUSETS|MEMCG|OVERLAY_FS|VETH|BRIDGE|MACVLAN"
	names="$names|IP_NF_IPTABLES|IP_NF_FILTER|IP_NF_NAT|NF_TABLES|NF_NAT|NETFILTER_XT_MATCH_ADDRTYPE"
	names="$names|NETFILTER_XT_MATCH_CONNTRACK|NETFILTER_XT_TARGET_MASQUERADE|IA32_EMULATION|X86_CET|X86_USER_SHADOW_STACK"
	names="$names|RSEQ|KCMP|PROC_PAGE_MONITOR|POSIX_MQUEUE|BPF_LSM|IPV6"
	for file in /proc/config.gz "/boot/config-$release" "/lib/modules/$release/config" \
		"/usr/lib/modules/$release/config" "/lib/modules/$release/build/.config"; do
		if [ ! -r "$file" ]; then continue; fi
		printf 'from %s\n' "$file"
		case $file in
		*.gz) zcat "$file" ;;
		*) cat "$file" ;;
		esac | grep -E "^CONFIG_($names)="
		return 0
	done
	return 1
}

modules() {
	folder="/lib/modules/$release"
	if [ -d "$folder" ]; then printf 'folder %s\n' "$folder"; fi
	wanted='unix_diag|tcp_diag|udp_diag|raw_diag|inet_diag|af_packet_diag|netlink_diag|xt_mark|overlay|veth|bridge|macvlan|nf_tables|ip_tables|tun'
	if [ -r "$folder/modules.builtin" ]; then
		sed -n -E "s,.*/($wanted)\\.ko.*,builtin \\1,p" "$folder/modules.builtin"
	fi
	if [ -r "$folder/modules.dep" ]; then
		sed -n -E "s,^[^:]*/($wanted)\\.ko[^:]*:.*,file \\1,p" "$folder/modules.dep"
	fi
	if [ -r /proc/modules ]; then sed -n -E "s,^($wanted) .*,loaded \\1,p" /proc/modules; fi
}

# The size of a process's floating point state: of the kernel's own log, or of the processor.
xsave() {
	dmesg 2>/dev/null | grep 'x86/fpu'
	if has cpuid; then limited cpuid -1 -r -l 0xd -s 0; fi
}

cgroup() {
	printf 'type %s\n' "$(stat -f -c %T /sys/fs/cgroup)"
	sed -n -E 's,^[^ ]+ ([^ ]+) (cgroup2?) ([^ ]+) .*,mount \1 \2 \3,p' /proc/self/mounts
	if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
		printf 'controllers %s\n' "$(cat /sys/fs/cgroup/cgroup.controllers)"
	fi
	sed -n -E 's,^([a-z_]+)[[:space:]].*[[:space:]]([01])$,v1 \1 \2,p' /proc/cgroups
}

lsm() {
	if [ -r /sys/kernel/security/lsm ]; then printf 'list %s\n' "$(cat /sys/kernel/security/lsm)"; fi
	if [ -r /sys/module/apparmor/parameters/enabled ]; then
		printf 'apparmor %s\n' "$(cat /sys/module/apparmor/parameters/enabled)"
	fi
	if has apparmor_parser; then printf 'apparmor_parser %s\n' "$(limited apparmor_parser --version | sed -n 1p)"; fi
	if has aa-status; then
		limited aa-status --enabled
		printf 'aa-status %s\n' "$?"
	fi
	if [ -r /sys/kernel/security/apparmor/profiles ]; then
		sed 's/^/profile /' /sys/kernel/security/apparmor/profiles
	fi
	if has getenforce; then printf 'selinux %s\n' "$(limited getenforce)"; fi
	if [ -r /proc/self/attr/current ]; then
		printf 'current %s\n' "$(tr -d '\000' 2>/dev/null </proc/self/attr/current)"
	fi
}

# grep reads a whole file at once: the kernel gives `read` of a shell only the first character.
sysctls() {
	(
		cd /proc/sys && grep -sH '' fs/pipe-max-size fs/pipe-user-pages-soft fs/pipe-user-pages-hard fs/file-max \
			fs/nr_open vm/unprivileged_userfaultfd vm/overcommit_memory vm/max_map_count \
			kernel/ns_last_pid kernel/randomize_va_space kernel/pid_max kernel/cap_last_cap kernel/dmesg_restrict \
			kernel/yama/ptrace_scope kernel/unprivileged_userns_clone kernel/apparmor_restrict_unprivileged_userns \
			kernel/io_uring_disabled user/max_user_namespaces net/ipv4/ip_forward net/ipv6/conf/all/disable_ipv6 \
			net/bridge/bridge-nf-call-iptables net/core/rmem_max net/core/wmem_max
	)
	if [ -e /dev/userfaultfd ]; then printf 'dev/userfaultfd:present\n'; fi
}

libc() {
	getconf GNU_LIBC_VERSION 2>/dev/null
	limited ldd --version 2>&1 | sed -n 1p
}

identity() {
	printf 'uid %s\n' "$(id -u)"
	printf 'user %s\n' "$(id -un)"
	if [ -n "$SUDO_USER" ]; then printf 'sudo %s\n' "$SUDO_USER"; fi
	printf 'groups %s\n' "$(id -Gn)"
}

init() {
	printf 'pid1 %s\n' "$(cat /proc/1/comm)"
	if [ -d /run/systemd/system ]; then printf 'systemd running\n'; fi
	if has systemctl; then
		for unit in docker podman; do
			printf 'unit %s %s\n' "$unit" "$(limited systemctl is-active $unit 2>/dev/null)"
		done
	fi
}

# The packages' own versions: distributions mend what the program's version does not show.
packages() {
	names='criu libcriu2 runc crun docker.io docker-ce docker-engine containerd containerd.io podman libc6 iptables nftables'
	if has dpkg-query; then
		dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\n' $names 2>/dev/null | sed -n 's/^.i *//p'
	elif has rpm; then
		limited rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE}\n' criu criu-libs runc crun docker-ce containerd.io podman \
			glibc iptables-nft nftables container-selinux | grep -v 'is not installed'
	fi
	return 0
}

tools() {
	for tool in criu runc crun docker docker-runc docker-containerd dockerd containerd podman iptables iptables-save nft \
		tar gzip zstd sha256sum rsync lscpu lsblk cpuid hardinfo hardinfo2 transship conmon systemctl ss; do
		path=$(command -v "$tool" 2>/dev/null) && printf '%s %s\n' "$tool" "$path"
	done
	if has ldconfig; then
		ldconfig -p 2>/dev/null | sed -n -E 's,^[[:space:]]*(libcriu\.so[^ ]*) .*=> (.*)$,\1 \2,p'
	fi
	return 0
}

criu_files() {
	for file in /etc/criu/default.conf /etc/criu/runc.conf /etc/criu/crun.conf; do
		if [ -r "$file" ]; then
			printf 'file %s\n' "$file"
			sed 's/^/: /' "$file"
		fi
	done
	if [ -e /run/criu.kdat ]; then
		printf 'kdat %s\n' "$(stat -c %Y /run/criu.kdat)"
		printf 'criu %s\n' "$(stat -L -c %Z "$(command -v criu)" 2>/dev/null)"
	fi
	return 0
}

# A chain or table of CRIU's that is still there keeps a network locked.
iptables_chains() {
	if has iptables-save; then limited iptables-save 2>/dev/null | grep -E '^(:|-A )CRIU|-j CRIU'; fi
	if has nft; then limited nft list tables 2>/dev/null | grep CRIU; fi
	return 0
}

# Only what a migration removes at its end: kept logs and the lab's hosts are nobody's leftovers.
leftovers() {
	for folder in /run/transship/restore /var/lib/transship/migrate; do
		if [ -d "$folder" ]; then
			printf 'folder %s\n' "$folder"
			ls -1A "$folder" | sed "s,^,entry $folder/,"
		fi
	done
	# What CRIU mounts for itself while it works, in /tmp or in its work folder.
	if command -v pidof >/dev/null 2>&1 && pidof criu >/dev/null 2>&1; then return 0; fi
	sed -n -E 's,^[^ ]+ ([^ ]*/\.?criu\.(cgyard|mntns|cg)[^ ]*|[^ ]*/criu-root|[^ ]*/crtools-proc\.[^ ]*|[^ ]*/[^ /]*\.criu\.cg[^ ]*) .*,mount \1,p' /proc/self/mounts
	return 0
}

versions() {
	for tool in criu runc crun docker-runc docker-containerd iptables nft tar gzip lscpu transship; do
		if has "$tool"; then section "version.$tool" version "$tool"; fi
	done
	if has runc; then section features.runc features runc; fi
	if has crun; then section features.crun features crun; fi
}

version() {
	# crun makes the folder of its containers for any question but this one.
	case $1 in
	crun) text=$(limited crun --root /proc --version 2>&1) ;;
	*) text=$(limited "$1" --version 2>&1) ;;
	esac
	status=$?
	printf '%s\n' "$text" | sed -n 1,6p
	return "$status"
}

# Of what a runtime says of itself only its annotations, one a line.
features() {
	limited "$1" features 2>&1 | sed -n -E 's/^[[:space:]]*"((org\.opencontainers|run\.oci)\.[^"]*)": "([^"]*)".*/\1 \3/p'
}

engines() {
	docker_root=
	podman_root=
	if has docker; then
		section docker.version limited docker version --format '{{json .}}'
		text=$(limited docker info --format '{{json .}}' 2>&1)
		status=$?
		section docker.info said
		docker_root=$(printf '%s\n' "$text" | sed -n -E 's/.*"DockerRootDir":"([^"]*)".*/\1/p')
		if [ -r /etc/docker/daemon.json ]; then section docker.daemon-json cat /etc/docker/daemon.json; fi
	fi
	if has podman; then
		text=$(podman_info 2>&1)
		status=$?
		section podman.info said
		podman_root=$(printf '%s\n' "$text" | sed -n -E 's/.*"graphRoot": "([^"]*)".*/\1/p')
	fi
}

# The first question makes Podman set up its store. Where it has none, it is asked in a mount namespace that ends with the
# answer, and sets one up in memory; what tells it of systemd is put in its place.
podman_info() {
	if [ "$(id -u)" != 0 ] || [ -e /var/lib/containers/storage ] ||
		grep -qs '^[[:space:]]*graphroot' /etc/containers/storage.conf; then
		limited podman info --format json
		return
	fi
	limited unshare -m sh -c '
		systemd=/run/systemd/system
		[ -d "$systemd" ] || systemd=/run
		store=/var/lib/containers
		[ -d "$store" ] || store=/var/lib
		for folder in /run /dev/shm "$store"; do mount -t tmpfs none "$folder" || exit 125; done
		mkdir -p "$systemd" && podman info --format json'
}

said() {
	printf '%s\n' "$text"
	return "$status"
}

disks() {
	set --
	for folder in "$docker_root" "$podman_root" / /var/lib /var/lib/docker /var/lib/containers /tmp /var/tmp /dev/shm /run; do
		if [ -n "$folder" ] && [ -d "$folder" ]; then set -- "$@" "$folder"; fi
	done
	printf 'folder %s\n' "$@"
	limited df -PTk "$@" 2>/dev/null || limited df -Pk "$@"
}

probe </dev/null
