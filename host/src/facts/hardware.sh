# The hardware of this host, for people to read. It only reads.
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	export LC_ALL PATH
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship hardware 1 %s\n' "$mark"
	limit=
	if has timeout; then limit='timeout -k 2 30'; fi

	section dmi dmi
	section disks disks
	section links links
	section dimms dimms
	if has cpuid; then section cpuid $limit cpuid -1 -r; fi
	if has hardinfo2; then
		section hardinfo hardinfo hardinfo2 -q -s
	elif has hardinfo; then
		section hardinfo hardinfo hardinfo -m devices.so
	fi
}

has() { command -v "$1" >/dev/null 2>&1; }

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

# Its chapter on devices, without the lists of ports and interrupts. It keeps its settings under HOME, where nothing is to be
# written, and it may wait for a name server.
hardinfo() {
	tool=$1
	shift
	HOME=/proc XDG_CONFIG_HOME=/proc XDG_CACHE_HOME=/proc ${limit:+timeout -k 2 30} "$tool" -r -f text "$@" 2>/dev/null |
		sed -n '/^Devices$/,/^Resources$/p' | sed '/^Resources$/d'
}

dmi() {
	for name in sys_vendor product_name board_vendor board_name bios_vendor bios_version bios_date; do
		file=/sys/class/dmi/id/$name
		if [ -r "$file" ]; then printf '%s %s\n' "$name" "$(cat "$file")"; fi
	done
}

# One line for each disk of the kernel; sizes there are always in sectors of 512 bytes.
disks() {
	for disk in /sys/block/*; do
		case ${disk##*/} in
		loop* | ram* | zram* | dm-* | sr* | fd*) continue ;;
		esac
		if [ ! -r "$disk/size" ]; then continue; fi
		printf 'disk %s %s %s %s\n' "${disk##*/}" "$(cat "$disk/size")" "$(cat "$disk/queue/rotational" 2>/dev/null || echo -)" \
			"$(cat "$disk/device/model" 2>/dev/null)"
	done
	return 0
}

links() {
	for link in /sys/class/net/*; do
		name=${link##*/}
		case $name in
		lo | veth* | docker* | br-* | ifb* | cni* | podman*) continue ;;
		esac
		printf 'link %s %s %s %s %s\n' "$name" "$(cat "$link/operstate")" "$(cat "$link/mtu")" \
			"$(cat "$link/speed" 2>/dev/null || echo -)" "$(readlink "$link/device/driver" 2>/dev/null | sed 's,.*/,,')"
	done
	if has ip; then $limit ip -o addr show scope global 2>/dev/null | sed -n -E 's,^[0-9]+: +([^ ]+) +(inet6?) ([^ ]+).*,address \1 \3,p'; fi
	return 0
}

dimms() {
	for node in /sys/devices/system/node/node[0-9]*; do
		if [ -r "$node/meminfo" ]; then
			printf 'node %s %s\n' "${node##*node}" "$(sed -n -E 's,.*MemTotal: +([0-9]+) kB.*,\1,p' "$node/meminfo")"
		fi
	done
	return 0
}

probe </dev/null
