# What provision needs to know of a host beyond its facts. It only reads.
# usage: state.sh NAME PACKAGE... -- FILE...
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	export LC_ALL PATH
	shift
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
	section service service
	for file; do
		if [ -f "$file" ]; then section "file:$file" cat "$file"; fi
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

hash() { if [ -r /usr/local/bin/transship ]; then sha256sum /usr/local/bin/transship; fi; }

service() {
	if [ -d /run/systemd/system ]; then printf 'systemd %s\n' "$(systemctl is-enabled docker 2>/dev/null)"; fi
}

probe "$@" </dev/null
