#!/bin/sh
# What the role needs to know of a host, as JSON. It only reads.
LC_ALL=C
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export LC_ALL PATH
has() { command -v "$1" >/dev/null 2>&1; }
truth() { if "$@" >/dev/null 2>&1; then echo true; else echo false; fi; }
. /etc/os-release
files=$(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null | grep -v /transship-)

# Address and key of the first source that is a Debian archive, in either form.
mirror() {
	for file in $files; do
		sed -nE '/^deb .*:\/\/[^ ]*\/debian\/? /{s,^deb +(\[[^]]*\])? *([^ ]+).*,\2 \1,;p;q}' "$file" |
			sed -E 's,/? , ,; s,\[.*signed-by=([^] ]*).*\],\1,; s,\[.*\],,'
		awk -v RS= '!/(^|\n)Enabled: *no/ && match($0, /URIs: *[^ \n]*\/debian\/?(\n|$)/) {
			uri = substr($0, RSTART, RLENGTH); gsub(/URIs: *|\/?\n/, "", uri); sub(/\/$/, "", uri)
			key = ""
			if (match($0, /Signed-By: *\/[^ \n]*/)) { key = substr($0, RSTART, RLENGTH); sub(/Signed-By: */, "", key) }
			print uri " " key; exit }' "$file"
	done | sed -n 1p
}

installed() {
	dpkg-query -W -f '${db:Status-Abbrev}"${Package}": "${Version}",\n' 2>/dev/null | sed -n 's/^.i *//p'
}

answers() { timeout 5 docker version --format '{{.Server.Version}}'; }
experimental() { timeout 5 docker version --format '{{.Server.Experimental}}' | grep -q true; }
runtime() { timeout 5 docker info --format '{{json .Runtimes}}' | grep -q '"transship"'; }
interrupted() { dpkg --audit | grep -q .; }

set -- $(mirror)
cat <<END
{
  "system": "$ID-$VERSION_ID",
  "kernel": "$(uname -r)",
  "machine": "$(uname -m)",
  "systemd": $(truth test -d /run/systemd/system),
  "enabled": $(truth systemctl is-enabled docker),
  "interrupted": $(truth interrupted),
  "mirror": "$1",
  "signed_by": "$2",
  "sources": "$(for file in $files; do sed -nE 's,.*(deb|URIs:) .*(https?://[^ ]+).*,\2,p' "$file"; done | sed 's,/$,,' | tr '\n' ' ')",
  "docker": $(truth has docker),
  "podman": $(truth has podman),
  "answers": $(truth answers),
  "experimental": $(truth experimental),
  "runtime": $(truth runtime),
  "pipe": $(cat /proc/sys/fs/pipe-max-size),
  "docker_group": "$(getent group docker | sed 's/.*://')",
  "held": "$(apt-mark showhold | tr '\n' ' ')",
  "packages": { $(installed) "": "" }
}
END
