# What stands at the place where a container is to go. It only reads.
# $2 engine, $3 container's name, $4 image; then words: path:P, network:N, volume:V.
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	PODMAN_IGNORE_CGROUPSV1_WARNING=1
	export LC_ALL PATH PODMAN_IGNORE_CGROUPSV1_WARNING
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship destination 1 %s\n' "$mark"
	limit=
	if command -v timeout >/dev/null 2>&1; then limit='timeout -k 2 30'; fi
	engine=$2
	image=$4
	section engine command -v "$engine"
	section name $limit "$engine" container inspect -f '{{.Id}}' "$3"
	section image $limit "$engine" image inspect -f '{{.Id}}' "$image"
	section published $limit "$engine" ps --format '{{.Names}} {{.Ports}}'
	for table in tcp tcp6 udp udp6; do section "net.$table" cat "/proc/net/$table"; done
	shift 4
	number=0
	for word in "$@"; do
		number=$((number + 1))
		what=${word#*:}
		case $word in
		path:*) section "path.$number" stat -L -c '%s|%F' "$what" ;;
		network:*) section "network.$number" $limit "$engine" network inspect "$what" ;;
		volume:*)
			section "volume.$number" $limit "$engine" volume inspect "$what"
			section "moved.$number" test -e "/var/lib/transship/moved/$what"
			;;
		esac
	done
}

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

probe "$@" </dev/null
