# Puts a file back as it was before transship.
# usage: restore.sh NAME changed|created PATH
set -eu
case $1 in
changed) if [ -e "$2.transship-backup" ]; then mv -f "$2.transship-backup" "$2"; fi ;;
created)
	rm -f "$2"
	# Versions of transship have folders of their own.
	case $2 in /usr/local/lib/transship/*) rmdir "$(dirname "$2")" /usr/local/lib/transship 2>/dev/null || true ;; esac
	;;
esac
