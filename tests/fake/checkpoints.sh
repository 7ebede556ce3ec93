# Checkpoints of the fake; see docker.

no_criu='CRIU version check failed: exec: "criu": executable file not found in $PATH'

needs_two() {
    printf '"docker checkpoint %s" requires exactly 2 arguments.\nSee '"'docker checkpoint %s --help'"'.\n\nUsage:  docker checkpoint %s [OPTIONS] CONTAINER CHECKPOINT\n\n%s\n' "$1" "$1" "$1" "$2" >&2
    exit 1
}

do_checkpoint() {
    what=$1; [ $# -gt 0 ] && shift
    if fault experimental-off; then
        # 26's client leaves it to the daemon; its text is moby's, not recorded
        old || fail 'This experimental feature is disabled by default. Start the Docker daemon in experimental mode in order to enable it.'
        echo "docker checkpoint${what:+ $what} is only supported on a Docker daemon with experimental features enabled" >&2; exit 1
    fi
    dir= leave=
    while :; do
        case ${1-} in --checkpoint-dir) dir=$2; shift 2 ;; --checkpoint-dir=*) dir=${1#*=}; shift ;; --leave-running) leave=1; shift ;; *) break ;; esac
    done
    case $what in
        create) [ $# -eq 2 ] || needs_two create 'Create a checkpoint from a running container' ;;
        rm|remove) [ $# -eq 2 ] || needs_two rm 'Remove a checkpoint' ;;
    esac
    must_find "$1"
    # Where this container's checkpoints are
    if [ -z "$dir" ]; then base=$C/checkpoints; elif old; then base=$dir/$ID/checkpoints; else base=$dir; fi
    case $what in
        create) checkpoint_create "$1" "$2" ;;
        rm|remove)
            [ -d "$base/$2" ] || { if old; then fail "checkpoint $2 does not exists for container $1"; else fail "checkpoint $2 does not exist for container $1"; fi; }
            rm -r "${base:?}/$2" ;;
        ls|list)
            if [ -n "$dir" ] && [ ! -d "$base" ]; then fail "checkpoint  does not exists for container $1"; fi
            echo 'CHECKPOINT NAME'; ls "$base" 2>/dev/null || : ;;
    esac
}

checkpoint_create() {
    if ! running; then if old; then fail "Container $1 not running"; else fail "container $ID is not running"; fi; fi
    case $2 in *[!a-zA-Z0-9_.-]*|[!a-zA-Z0-9]*) fail "Invalid checkpoint ID ($2), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed" ;; esac
    at=$base/$2
    [ -e "$at" ] && fail "cannot checkpoint container $1: checkpoint with name $2 already exists for container $1"
    [ -f "$dir" ] && fail "cannot checkpoint container $1: stat $at: not a directory"
    mkdir -p "$at" 2>/dev/null || fail "Cannot checkpoint container $1: rpc error: code = NotFound desc = mkdir $dir: no such file or directory"
    # 17.09 writes this first, and leaves it behind when the rest fails.
    old && printf '{"created":"%s","name":"%s","tcp":true,"unixSockets":true,"shell":false,"exit":%s}' "$(now)" "$2" "$([ -n "$leave" ] && echo false || echo true)" > "$at/config.json"
    fault criu-missing && checkpoint_failed "$1" "$no_criu" ''
    fault checkpoint-fails && checkpoint_failed "$1" 'criu failed: type NOTIFY errno 0' 'Error (criu/cr-dump.c:2111): Dumping FAILED.'
    fault enospc && checkpoint_failed "$1" 'criu failed: type NOTIFY errno 0' 'Error (criu/page-xfer.c:310): page-xfer: Unable to write pages: No space left on device'
    for x in cgroup core-1 fdinfo-2 files fs-1 ids-1 inventory mm-1 mountpoints-13 pagemap-1 pstree seccomp; do echo "$x" > "$at/$x.img"; done
    head -c 65536 /dev/urandom > "$at/pages-1.img"
    echo '["/dev/null","pipe:[1]","pipe:[2]"]' > "$at/descriptors.json"
    old && { mkdir "$at/criu.work"; echo "(00.1) Dumping finished successfully" > "$at/criu.work/dump.log"; : > "$at/criu.work/stats-dump"; }
    get pid > "$at/pid"; echo "$S/procs/$ID.home" > "$at/home"
    # A container that was itself restored prints where its first home says.
    if [ -e "$C/home" ]; then get home > "$at/home"; fi
    if [ -z "$leave" ]; then
        kill -STOP "$(get pid)"
        echo $(($(tail -n 1 "$C/log") + 1)) > "$at/next"
        # The daemon hears of the end a little later.
        : > "$S/ending"
        ( sleep 0.1; while [ -e "$S/hold" ]; do sleep 0.02; done; ended 137; rm "$S/ending" ) > /dev/null 2>&1 < /dev/null &
    fi
    echo "$2"
}

# checkpoint_failed CONTAINER WHY LOG: the container goes on
checkpoint_failed() {
    if old; then
        log=; [ -n "$3" ] && { mkdir "$at/criu.work"; echo "(00.1) $3" > "$at/criu.work/dump.log"; log="\\nlog file: $at/criu.work/dump.log"; }
        why=$(printf '%s' "$2" | sed 's/"/\\"/g')
        printf 'Error response from daemon: Cannot checkpoint container %s: rpc error: code = Unknown desc = exit status 1: "%s%s\\n"\n' "$1" "$why" "$log" >&2
        exit 1
    fi
    rm -r "$at"
    fail "Cannot checkpoint container $1: runc did not terminate successfully: exit status 1: $2 path= /var/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/$ID/criu-dump.log: unknown"
}

do_start() {
    dir= cp= flags=
    while :; do
        case ${1-} in
            --checkpoint) cp=$2; flags=" --checkpoint"; shift 2 ;; --checkpoint=*) cp=${1#*=}; shift ;;
            --checkpoint-dir) dir=$2; shift 2 ;; --checkpoint-dir=*) dir=${1#*=}; shift ;;
            -*) shift ;;
            *) break ;;
        esac
    done
    if fault experimental-off && [ -n "$cp$dir" ]; then
        old || fail 'checkpoint is only supported in experimental mode'
        [ -n "$cp" ] && echo '"--checkpoint" is only supported on a Docker daemon with experimental features enabled' >&2
        [ -n "$dir" ] && echo '"--checkpoint-dir" is only supported on a Docker daemon with experimental features enabled' >&2
        exit 1
    fi
    if ! find_container "$1"; then
        daemon_says "No such container: $1"
        [ -n "$cp" ] || echo "Error: failed to start containers: $1" >&2
        exit 1
    fi
    running && { [ -n "$cp" ] || echo "$1"; exit 0; }
    old || [ -z "$dir" ] || fail 'custom checkpointdir is not supported'
    if [ -z "$cp" ]; then
        fault start-fails && start_failed "$(failed_task "$C" NOTIFY)" "$1"
        spawn
    elif fault starts-anew; then
        spawn
    else
        restore
    fi
    if fault daemon-dies-on-start; then
        echo daemon-down >> "$S/fault"
        echo "error during connect: Post http://%2Fvar%2Frun%2Fdocker.sock/v1.32/containers/$1/start: EOF" >&2; exit 1
    fi
    [ -n "$cp" ] || echo "$1"
}

# start_failed WHY [CONTAINER]: the container stays as it was; a plain start names it once more
start_failed() {
    put error "$1"; [ "$(get exitcode)" = 0 ] && put exitcode 128
    # What the runtime says is in the container's log too.
    case $1 in *"cannot allocate tty"*) ;; "oci runtime error: "*) echo "${1#oci runtime error: }" >> "$C/errors" ;; esac
    daemon_says "$1"
    [ -z "${2:-}" ] || echo "Error: failed to start containers: $2" >&2
    exit 1
}
# failed_task FOLDER TYPE: what is said when criu gives up
failed_task() {
    if old; then
        log=$1/criu.work/restore-$(now); mkdir -p "$log"; echo '(00.1) Error (criu/cr-restore.c:2320): Restoring FAILED.' > "$log/restore.log"
        printf 'oci runtime error: criu failed: type %s errno 0\nlog file: %s/restore.log' "$2" "$log"
    else
        printf 'failed to create task for container: failed to start shim: OCI runtime restore failed: criu failed: type %s errno 0: unknown' "$2"
    fi
}

restore() {
    at=${dir:-$C/checkpoints}/$cp
    # A relative folder is the daemon's, not the client's.
    case $at in /*) ;; *) start_failed "shim error: open ${at#./}/config.json: no such file or directory" ;; esac
    if old; then
        [ -e "$at/config.json" ] || start_failed "shim error: open $at/config.json: no such file or directory"
        [ ! -e "$C/tty" ] || start_failed 'oci runtime error: cannot allocate tty if runc will detach without setting console socket'
        [ -e "$at/descriptors.json" ] || fault criu-missing || start_failed "oci runtime error: open $at/descriptors.json: no such file or directory"
    else
        [ -d "$at" ] || start_failed "checkpoint $cp does not exist for container /$(get name)"
    fi
    fault criu-missing && start_failed "oci runtime error: $no_criu"
    [ -e "$at/inventory.img" ] || start_failed "$(failed_task "$at" RESTORE)"
    p=$(cat "$at/pid" 2>/dev/null)
    for x in pages-1.img core-1.img; do [ -e "$at/$x" ] || start_failed "$(failed_task "$at" NOTIFY)"; done
    fault start-fails && start_failed "$(failed_task "$at" NOTIFY)"
    # A process that was killed since is made anew from where it was; killed, it may still be there as a zombie.
    if ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$p/status" 2>/dev/null; then
        [ -e "$at/next" ] || start_failed "$(failed_task "$at" NOTIFY)"
        spawn "$(cat "$at/next")"; put home "$S/procs/$ID.home"
        return
    fi
    put home "$(cat "$at/home")"; echo "$C/log" > "$(get home)"
    kill -CONT "$p"; echo "$p" >> "$S/pids"; runs "$p"
}
