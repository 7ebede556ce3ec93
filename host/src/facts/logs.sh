# What a failed checkpoint or restore of a container left: the engine's word, CRIU's logs wherever they are,
# the daemon's log. It only reads. $2 is the container's name or id.
probe() {
	LC_ALL=C
	PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	PODMAN_IGNORE_CGROUPSV1_WARNING=1
	export LC_ALL PATH PODMAN_IGNORE_CGROUPSV1_WARNING
	mark="@@$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')"
	printf '@@transship logs 1 %s\n' "$mark"
	limit=
	if command -v timeout >/dev/null 2>&1; then limit='timeout -k 2 30'; fi
	section kernel uname -r
	section criu $limit criu --version
	name=$1
	engine=
	id=
	failed=
	# A name stands before the start of an id, which both engines take as well.
	for one in docker podman; do
		if found=$($limit "$one" container inspect -f '{{.Name}} {{.Id}}' "$1" 2>/dev/null); then
			case $found in
			"$1 "* | "/$1 "*)
				engine=$one id=${found##* }
				break
				;;
			*) [ -n "$engine" ] || engine=$one id=${found##* } ;;
			esac
		fi
	done
	section engine printf '%s' "$engine"
	if [ -n "$engine" ]; then
		section engine-version $limit "$engine" --version
		failed=$($limit "$engine" container inspect -f '{{.State.Error}}' "$1" 2>/dev/null)
		section state printf '%s' "$failed"
	fi
	if [ "$engine" = docker ]; then section fresh fresh "$1"; fi
	files=$(logs | newest)
	said=$(daemon | daemon_lines)
	# What all containers share is of another run where it is older than this container's own.
	own=$(time_of "$(printf '%s\n' "$files" | sed -n 1p)")
	for file in $(kept); do
		if [ "$(($(time_of "$file") + 5))" -ge "$own" ] && concerns "$file"; then files="$files $file"; fi
	done
	named=$(printf '%s\n' "$said" | grep -o -E '/[^][ "\\:,]+\.log' | sort -u)
	number=0
	for file in $files $named; do
		file=$(readlink -f "$file")
		case " $done_files " in *" $file "*) continue ;; esac
		done_files="$done_files $file"
		if ! [ -s "$file" ]; then continue; fi
		number=$((number + 1))
		section "path.$number" printf '%s' "$file"
		section "log.$number" tail -c 4000000 "$file"
	done
	section daemon printf '%s' "$said"
}

# Docker starts a container from its beginning without a word where the checkpoint was not named. That no one has
# read a checkpoint's files since they were written shows in their times, unless the file system keeps none.
fresh() {
	root=$($limit docker info -f '{{.DockerRootDir}}' 2>/dev/null)
	state=$($limit docker container inspect -f '{{.State.Running}} {{.State.StartedAt}}' "$1")
	case $state in true*) ;; *) return ;; esac
	started=$(date -d "${state#true }" +%s) || return
	newest=$(ls -1td "$root/containers/$id/checkpoints"/*/ 2>/dev/null | sed -n 1p)
	image=${newest}inventory.img
	[ -s "$image" ] || return
	case $(findmnt -n -o OPTIONS -T "$image") in '' | *noatime*) return ;; esac
	read -r read written <<-END
		$(stat -c '%X %Y' "$image")
	END
	if [ "$read" -le "$written" ] && [ "$started" -gt "$written" ]; then
		printf '%s runs since %s, and its checkpoint %s was never read since it was written at %s: it was started afresh\n' \
			"$1" "${state#true }" "$(basename "$newest")" "$(date -u -d "@$written" +%FT%TZ)"
	fi
}

# Logs of CRIU and runc of this container alone. Engines and our runtime keep a folder named by its id, in their state and
# in their checkpoints; where transship keeps what it saved, the folder has the container's name. What stands in a path is
# compared as a whole: a container may be called `a`, or `docker`.
logs() {
	folder=$id
	# An engine that has forgotten a container may have left its folder.
	case $id$name in
	*[!0-9a-f]*) ;;
	????????????*) folder=${id:-$name*} ;;
	esac
	{
		written_in "/var/lib/transship/migrate/$name"
		if [ -n "$folder" ]; then
			roots | while IFS= read -r root; do
				written_in "$root" -path "*/rootfs/*" -prune -o -path "*/$folder/*"
			done
		fi
	} | sort -u
}

written_in() {
	find "$@" -type f \( -name 'dump.log' -o -name 'restore.log' -o -name 'criu-*.log' -o -name '*dump*.log' -o \
		-name '*restore*.log' -o -name 'log.json' \) -print 2>/dev/null
}

# Where engines and runtimes keep folders of containers, the engine's own word for its data among them.
roots() {
	printf '%s\n' /run/containerd /run/docker /run/runc /run/transship/restore /var/lib/containerd \
		/var/lib/docker/containerd /var/lib/docker/containers /var/lib/containers/storage/overlay-containers
	case $engine in
	docker)
		data=$($limit docker info -f '{{.DockerRootDir}}' 2>/dev/null)
		case $data in '' | /var/lib/docker) ;; /*) printf '%s\n' "$data/containerd" "$data/containers" ;; esac
		;;
	podman)
		data=$($limit podman info -f '{{.Store.GraphRoot}} {{.Store.GraphDriverName}}' 2>/dev/null)
		case $data in /*) printf '%s\n' "${data% *}/${data##* }-containers" ;; esac
		;;
	esac
}

# The log of the last run of all containers, where /etc/criu/runc.conf keeps one: engines remove restore.log
# with the rest of the container that did not start.
kept() {
	sed -n 's/^[ -]*log-file[ =]*\(\/\)/\1/p' /etc/criu/runc.conf 2>/dev/null
}

# Whether a log that all containers share is this one's: it names its id; or no container at all, and a failure of this
# one is known otherwise.
concerns() {
	if [ -n "$id" ] && grep -q -F -e "$id" "$1"; then return 0; fi
	if [ -z "$said$failed" ]; then return 1; fi
	! grep -q -E '(containers|docker|moby|libpod|machine)[/:-]+[0-9a-f]{64}' "$1"
}

time_of() { stat -c %Y "$1" 2>/dev/null || echo 0; }

# Those that were written within two minutes of the newest: older failures are another story.
newest() {
	while read -r file; do stat -c '%Y %n' "$file"; done 2>/dev/null | sort -rn |
		awk 'NR == 1 { last = $1 } $1 >= last - 120 { sub(/^[0-9]+ /, ""); print }'
}

# The last lines of the engine's daemon about this container.
daemon() {
	if command -v journalctl >/dev/null 2>&1; then
		$limit journalctl -q --no-pager -o cat -n 2000 -u docker -u containerd -u podman 2>/dev/null
	fi
	for file in /var/log/docker.log /var/log/dockerd.log /var/log/upstart/docker.log /var/log/syslog; do
		if [ -r "$file" ]; then tail -n 2000 "$file"; fi
	done
}

# Lines with its id, or with its name where a name stands: a name may be a word like any other.
daemon_lines() {
	plain=$(printf '%s' "$name" | sed 's/\./\\./g')
	grep -E -e "${id:-containers/$plain/}" -e "(containers?[ /:=\"'\\]+|name=)$plain([^A-Za-z0-9_.-]|\.?\$)" |
		grep -i -E 'criu|checkpoint|restore' | tail -n 2
}

section() {
	section_name=$1
	shift
	printf '%s begin %s\n' "$mark" "$section_name"
	"$@" 2>&1
	printf '\n%s end %s %s\n' "$mark" "$section_name" "$?"
}

probe "$2" </dev/null
