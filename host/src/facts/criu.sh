# What CRIU thinks of this host: its own check, every feature it knows, and the processor as it sees it.
# It only reads, but for a file in memory, in a folder of its own under /dev/shm, which it removes, and CRIU's own cache /run/criu.kdat.
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	export LC_ALL PATH
	umask 077
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship criu 1 %s\n' "$mark"
	limit=
	if command -v timeout >/dev/null 2>&1; then limit='timeout -k 2 30'; fi

	section version $limit criu --version
	if ! command -v criu >/dev/null 2>&1 || hung; then return; fi
	section check $limit criu check
	# A CRIU that hangs once hangs every time.
	if hung; then return; fi
	for feature in mem_dirty_track uffd uffd-noncoop seccomp_suspend seccomp_filters cgroupns tcp_half_closed \
		compat_cr can_map_vdso sk_ns sk_unix_file net_diag_raw nsid link_nsid kcmp_epoll timens external_net_ns \
		clone3_set_tid newifindex nftables has_ipt_legacy pidfd_store ns_pid apparmor_stacking \
		network_lock_nftables sockopt_buf_lock memfd_hugetlb move_mount_set_group openat2 get_rseq_conf \
		ipv6_freebind pagemap_scan pagemap_scan_guard_pages timer_cr_ids overlayfs_maps breakpoints loginuid \
		aio_remap fdinfo_lock mnt_id userns tun tun_ns timerfd autofs; do
		section "feature.$feature" $limit criu check --feature "$feature"
		if hung; then return; fi
	done
	section cpuinfo cpuinfo
}

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	section_status=$?
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$section_status"
}

# Whether the last section took too long and was ended.
hung() { [ "$section_status" = 124 ] || [ "$section_status" = 137 ]; }

cpuinfo() {
	folder=$(mktemp -d /dev/shm/transship-cpuinfo.XXXXXX 2>/dev/null) ||
		folder=$(mktemp -d /tmp/transship-cpuinfo.XXXXXX) || return 1
	$limit criu cpuinfo dump -v4 --images-dir "$folder" 2>&1 | grep -E 'cpu: |Error'
	if [ -s "$folder/cpuinfo.img" ]; then
		printf 'image '
		base64 "$folder/cpuinfo.img" | tr -d '\n'
		printf '\n'
	fi
	rm -rf -- "$folder"
}

probe </dev/null
