# Writes a file from standard input, whole or not at all. The first time it keeps what was there, and notes what undo has to do.
# usage: write.sh NAME PATH MODE
set -eu
path=$1 new=$1.transship-new.$$ mode=$2 journal=/etc/transship/undo
umask 022
mkdir -p /etc/transship "$(dirname "$path")"
note() { grep -qxF "$1" $journal 2>/dev/null || printf '%s\n' "$1" >>$journal; }
if ! grep -qxF -e "created $path" -e "changed $path" $journal 2>/dev/null; then
	if [ -e "$path" ]; then
		cp -a "$path" "$new"
		mv -f "$new" "$path.transship-backup"
		note "changed $path"
	else
		note "created $path"
	fi
fi
# What was there just now, for a daemon that does not come up with the new one.
before=/etc/transship/before/$(basename "$path")
mkdir -p /etc/transship/before
if [ -e "$path" ]; then cp -a "$path" "$before"; else rm -f "$before"; fi
cat >"$new"
chmod "$mode" "$new"
mv -f "$new" "$path"
