# Puts a file back as it was before transship.
# usage: restore.sh NAME changed|created PATH
set -eu
case $1 in
changed) if [ -e "$2.transship-backup" ]; then mv -f "$2.transship-backup" "$2"; fi ;;
created) rm -f "$2" ;;
esac
