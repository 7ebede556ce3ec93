# What provision needs to know of a host beyond its facts. It only reads.
# usage: state.sh NAME containers|'' USERS VERSIONS RUNTIME REGISTERED PACKAGE... -- FILE...
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	export LC_ALL PATH
	containers=$2 users=$3 versions=$4 runtime=$5 registered=$6
	shift 6
	names=
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		names="$names $1"
		shift
	done
	if [ $# -gt 0 ]; then shift; fi
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship state 1 %s\n' "$mark"
	section packages packages
	section holds holds
	section audit audit
	section sources sources
	section hash hash
	section runtime same
	section versions versions
	section service service
	section docker-group docker_group
	section unknown-users unknown_users
	section edited edited
	if [ -n "$containers" ]; then section containers containers; fi
	for file; do
		if [ -f "$file" ]; then
			case $file in
			*.gpg) section "file:$file" base64 -w 0 "$file" ;;
			*) section "file:$file" cat "$file" ;;
			esac
		fi
	done
}

has() { command -v "$1" >/dev/null 2>&1; }

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

packages() {
	if has dpkg-query; then
		# shellcheck disable=SC2086 # to be split
		dpkg-query -W -f '${db:Status-Abbrev}${Package} ${Version}\n' $names 2>/dev/null | sed -n 's/^.i *//p'
	fi
	return 0
}

holds() { if has apt-mark; then apt-mark showhold; fi; }

audit() { if has dpkg; then dpkg --audit; fi; }

sources() {
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		if [ -r "$file" ]; then
			printf '# transship file %s\n' "$file"
			cat "$file"
			printf '\n'
		fi
	done
}

program=/usr/local/bin/transship
hash() { if [ -r $program ]; then sha256sum $program; fi; }

same() {
	if [ "$program" -ef "$runtime" ] || cmp -s "$program" "$runtime"; then echo same; fi
	return 0
}

# A full disk may have left a folder with nothing in it.
versions() {
	for version in "$versions"/*/transship; do
		if [ -x "$version" ]; then basename "$(dirname "$version")"; fi
	done
}

# Of Docker's own files: its daemon need not run for that.
containers() {
	root=$(sed -n 's/.*"data-root": *"\([^"]*\)".*/\1/p' /etc/docker/daemon.json 2>/dev/null | sed -n 1p)
	for file in "${root:-/var/lib/docker}"/containers/*/hostconfig.json; do
		if grep -qs "\"Runtime\":\"$registered\"" "$file"; then
			grep -o '"Name":"/[^"]*"' "${file%/*}/config.v2.json" | sed -n '1s,.*/\(.*\)",\1,p'
		fi
	done
	if has podman; then
		podman ps -aq 2>/dev/null | while read -r id; do
			podman inspect --type container --format '{{.OCIRuntime}} {{.Name}}' "$id" 2>/dev/null | grep -F "$runtime" | sed 's/^[^ ]* //'
		done
	fi
	return 0
}

docker_group() { if has getent; then getent group docker; fi; }

unknown_users() {
	for user in $users; do id -u "$user" >/dev/null 2>&1 || echo "$user"; done
}

# What is not as we wrote it, of what is still there.
edited() {
	if [ -r /etc/transship/written ]; then
		sha256sum -c --quiet /etc/transship/written 2>/dev/null | sed -n 's/: FAILED$//p'
	fi
}

service() {
	if [ -d /run/systemd/system ]; then
		systemctl is-enabled docker 2>/dev/null
	elif [ -x /etc/init.d/docker ] && has update-rc.d; then
		if ls /etc/rc2.d/S*docker >/dev/null 2>&1; then echo enabled; else echo disabled; fi
	fi
}

probe "$@" </dev/null
