# Puts a file back as it was before transship; what the user made of ours is kept beside it.
# usage: restore.sh NAME changed|created PATH
set -eu
line=$(awk -v path="$2" 'substr($0, 67) == path' /etc/transship/written 2>/dev/null || true)
if [ -n "$line" ] && [ -e "$2" ] && ! printf '%s\n' "$line" | sha256sum -c --status 2>/dev/null; then
	cp -a "$2" "$2.transship-undone"
fi
case $1 in
changed) if [ -e "$2.transship-backup" ]; then mv -f "$2.transship-backup" "$2"; fi ;;
created)
	rm -f "$2"
	# Versions of transship have folders of their own.
	case $2 in /usr/local/lib/transship/*) rmdir "$(dirname "$2")" /usr/local/lib/transship 2>/dev/null || true ;; esac
	;;
esac
