# Installs this program from standard input, once it is proven to start on this host.
# The shell's own echo would not say that a disk is full.
# usage: binary.sh NAME PATH
set -eu
path=$1
# Two migrations may install it at the same time.
new=$path.transship-new.$$
# A full disk leaves nothing half.
trap 'rm -f "$new"' EXIT
umask 022
mkdir -p /etc/transship "$(dirname "$path")"
cat >"$new"
chmod 755 "$new"
if ! said=$("$new" --version 2>&1); then
	printf 'this build of transship does not start on this host: %s\n' "$said" >&2
	exit 3
fi
grep -qxF -e "created $path" /etc/transship/undo 2>/dev/null || /bin/echo "created $path" >>/etc/transship/undo
mv -f "$new" "$path"
