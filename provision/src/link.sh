# Gives a program more names, each replaced at once. The first time it keeps what was there, and notes what undo has to do.
# The shell's own echo would not say that a disk is full.
# usage: link.sh NAME PROGRAM LINK...
set -eu
program=$1
shift
umask 022
new=
trap '[ -z "$new" ] || rm -f "$new"' EXIT
mkdir -p /etc/transship
for link; do
	if [ "$program" -ef "$link" ] || cmp -s "$program" "$link"; then continue; fi
	mkdir -p "$(dirname "$link")"
	new=$link.transship-new.$$
	if ! grep -qxF -e "created $link" -e "changed $link" /etc/transship/undo 2>/dev/null; then
		if [ -e "$link" ]; then
			cp -a "$link" "$link.transship-backup"
			/bin/echo "changed $link" >>/etc/transship/undo
		else
			/bin/echo "created $link" >>/etc/transship/undo
		fi
	fi
	ln -f "$program" "$new" 2>/dev/null || cp "$program" "$new"
	# Another may have done the same meanwhile: mv does not replace a file by itself.
	mv -f "$new" "$link" || [ "$new" -ef "$link" ]
	rm -f "$new"
done
