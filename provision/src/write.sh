# Writes a file from standard input, whole or not at all. The first time it keeps what was there, and notes what undo has to do.
# usage: write.sh NAME PATH MODE text|base64|configuration
set -eu
path=$1 new=$1.transship-new.$$ mode=$2 how=$3
journal=/etc/transship/undo written=/etc/transship/written before=/etc/transship/before
# A full disk leaves nothing half.
trap 'rm -f "$new" "$new.old" "$written.$$"' EXIT
umask 022
mkdir -p /etc/transship "$(dirname "$path")"
note() { grep -qxF "$1" $journal 2>/dev/null || /bin/echo "$1" >>$journal; }
line_of() { if [ -e "$1" ]; then awk -v path="$path" 'substr($0, 67) == path' "$1"; fi; }
if [ "$how" = base64 ]; then base64 -d >"$new"; else cat >"$new"; fi
chmod "$mode" "$new"
if ! grep -qxF -e "created $path" -e "changed $path" $journal 2>/dev/null; then
	if [ -e "$path" ]; then
		cp -a "$path" "$new.old"
		mv -f "$new.old" "$path.transship-backup"
		note "changed $path"
	else
		note "created $path"
	fi
fi
line="$(sha256sum <"$new" | cut -c 1-64)  $path"
# What was there just now, for a daemon that does not come up with the new one; it stays where no daemon has
# proven what we wrote over it.
if [ "$how" = configuration ] && ! sha256sum -c --status $before/written 2>/dev/null; then
	rm -rf $before
	mkdir -p $before
	if [ -e "$path" ]; then cp -a "$path" $before/old; fi
	line_of $written >$before/line
fi
if [ "$how" = configuration ]; then /bin/echo "$line" >$before/written; fi
# What we wrote, so that undo knows it from what the user made of it.
{
	if [ -e $written ]; then awk -v path="$path" 'substr($0, 67) != path' $written; fi
	/bin/echo "$line"
} >"$written.$$"
mv -f "$written.$$" $written
mv -f "$new" "$path"
