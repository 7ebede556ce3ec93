# Notes what undo has to do, each line once. The shell's own echo would not say that a disk is full.
set -eu
mkdir -p /etc/transship
for line; do
	grep -qxF "$line" /etc/transship/undo 2>/dev/null || /bin/echo "$line" >>/etc/transship/undo
done
