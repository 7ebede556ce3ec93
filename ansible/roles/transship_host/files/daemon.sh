# Has Docker's daemon run with its present configuration; where it does not come up, what was changed for this is put back.
# usage: daemon.sh NAME start|restart|reload RUNTIME
set -u
file=/etc/docker/daemon.json
log=/var/log/docker.log
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
runtime=$2
answers() { timeout 5 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
# A daemon answers before it has read its configuration again: the runtime shows when it has.
follows() {
	if ! grep -q "\"$runtime\"" "$file" 2>/dev/null; then answers; else
		timeout 5 docker info --format '{{json .Runtimes}}' 2>/dev/null | grep -q "\"$runtime\""
	fi
}
comes_up() {
	tries=0
	until follows; do
		tries=$((tries + 1))
		if [ "$tries" -ge "$1" ]; then return 1; fi
		sleep 0.2
	done
}
pid() {
	number=$(cat /run/docker.pid 2>/dev/null) || return 1
	[ "$(cat "/proc/$number/comm" 2>/dev/null)" = dockerd ] && echo "$number"
}
# A daemon that was started by hand is known to no init.
stop_pid() {
	number=$(pid) || return 0
	kill "$number"
	tries=0
	while pid >/dev/null && [ "$tries" -lt 200 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
}
run() {
	if [ "$1" = reload ]; then
		kill -HUP "$(pid)"
	elif [ -d /run/systemd/system ]; then
		systemctl enable docker >/dev/null 2>&1
		systemctl reset-failed docker >/dev/null 2>&1
		systemctl "$1" docker
	elif [ -x /etc/init.d/docker ]; then
		update-rc.d docker defaults >/dev/null 2>&1
		update-rc.d docker enable >/dev/null 2>&1
		if [ "$1" = restart ]; then
			service docker stop </dev/null >/dev/null 2>&1
			stop_pid
		fi
		# Its script raises limits, which not every root may.
		service docker start </dev/null >/dev/null 2>&1 || by_hand
	else
		if [ "$1" = restart ]; then stop_pid; fi
		by_hand
	fi
}
by_hand() {
	log=/var/log/dockerd.log
	(cd / && exec setsid dockerd </dev/null >$log 2>&1) &
}
reason() {
	if [ -d /run/systemd/system ]; then
		journalctl -q -u docker -n 5 --no-pager -o cat
	else
		tail -n 5 "$log"
	fi 2>/dev/null
}
before=/etc/transship/before written=/etc/transship/written
run "$1" 2>/dev/null
if comes_up 200; then
	# What it runs with needs no way back.
	rm -rf $before /etc/transship/pending
	exit 0
fi
said=$(reason)
# Only what was written for this start, and nobody changed since, is taken back.
if ! sha256sum -c --status $before/written 2>/dev/null; then
	printf 'Docker does not come up, and %s was left as it is. It said:\n%s\n' "$file" "$said" >&2
	exit 1
fi
if [ -e $before/old ]; then
	cp -a $before/old "$file.transship-new" && mv -f "$file.transship-new" "$file"
	old='the one of before is back'
else
	rm -f "$file"
	old='there was none before, and it is gone'
fi
# Undo knows our file by its hash.
if [ -e $before/line ]; then
	{ awk -v path="$file" 'substr($0, 67) != path' $written; cat $before/line; } >$written.new && mv -f $written.new $written
fi
rm -rf $before /etc/transship/pending
# A daemon that refused to read the new one still runs, and so do its containers.
if answers; then how=reload; else how=restart; fi
run "$how" 2>/dev/null
if comes_up 100; then now='runs without it'; else now='does not run'; fi
printf 'Docker did not come up with the new %s (%s); Docker %s. It said:\n%s\n' "$file" "$old" "$now" "$said" >&2
exit 1
