# Installs this program from standard input, once it is proven to start on this host.
set -eu
path=/usr/local/bin/transship
umask 022
mkdir -p /etc/transship /usr/local/bin
cat >$path.transship-new
chmod 755 $path.transship-new
if ! said=$($path.transship-new --version 2>&1); then
	rm -f $path.transship-new
	printf 'this build of transship does not start on this host: %s\n' "$said" >&2
	exit 1
fi
if ! grep -qxF -e "created $path" -e "changed $path" /etc/transship/undo 2>/dev/null; then
	if [ -e $path ]; then
		cp -a $path $path.transship-backup
		echo "changed $path" >>/etc/transship/undo
	else
		echo "created $path" >>/etc/transship/undo
	fi
fi
mv -f $path.transship-new $path
