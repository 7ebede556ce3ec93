# Containers of the fake; see docker.

usage() { echo "$1" >&2; echo "See 'docker $2 --help'." >&2; exit 125; }

do_create() {
    T=$S/new.$$; rm -rf "$T"; mkdir "$T"; C=$T pull=missing name= cidfile=
    while [ $# -gt 0 ]; do
        option=$1; value=; case $option in --*=*) value=${option#*=}; option=${option%%=*}; joined=1 ;; *) joined= ;; esac
        case $option in
            -t|--tty) : > "$T/tty"; shift; continue ;;
            -i|--interactive) : > "$T/stdin"; shift; continue ;;
            -it|-ti) : > "$T/tty"; : > "$T/stdin"; shift; continue ;;
            -d|--detach) shift; continue ;;
            --rm) : > "$T/rm"; shift; continue ;;
            --init|--privileged|--read-only|-P|--publish-all|--no-healthcheck|--oom-kill-disable) : > "$T/${option#--}"; shift; continue ;;
            -*) ;;
            *) break ;;
        esac
        old && case $option in --pull|--domainname|--cgroupns|--gpus|--annotation|--health-start-interval) rm -r "$T"; usage "unknown flag: $option" create ;; esac
        if [ -z "$joined" ]; then shift; value=${1-}; fi
        case $option in
            --name) name=$value ;;
            --pull) pull=$value ;;
            --cidfile) cidfile=$value ;;
            -h|--hostname) put hostname "$value" ;;
            --env-file) cat "$value" >> "$T/env" ;;
            -e|--env) echo "$value" >> "$T/env" ;;
            -l|--label) echo "$value" >> "$T/labels" ;;
            -v|--volume) echo "$value" >> "$T/binds" ;;
            -p|--publish) echo "$value" >> "$T/ports" ;;
            --net|--network) put network "$value" ;;
            --runtime|--restart|--entrypoint|--user|--workdir|--memory|--domainname|--ip|--mac-address|--stop-signal|--stop-timeout) put "${option#--}" "$value" ;;
            -u) put user "$value" ;; -w) put workdir "$value" ;; -m) put memory "$value" ;;
            --tmpfs|--mount|--security-opt|--cap-add|--cap-drop|--log-driver|--log-opt|--dns|--add-host|--ulimit|--sysctl|--device|--shm-size|--ipc|--pid|--uts|--cpus|--cpu-shares|--memory-swap|--pids-limit|--network-alias|--expose|--attach) echo "$option $value" >> "$T/others" ;;
            *) rm -r "$T"; usage "unknown flag: $option" create ;;
        esac
        shift
    done
    image=${1-}; [ $# -gt 0 ] && shift
    imageid=$(image_id "$image") || {
        rm -r "$T"
        [ "$pull" = never ] && fail "No such image: $(image_name "$image")"
        echo "Unable to find image '$(image_name "$image")' locally" >&2
        fail 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io on 127.0.0.1:53: read udp 127.0.0.1:48393->127.0.0.1:53: read: connection refused'
    }
    put image "$image"; put imageid "$imageid"; put created "$(now)"; put status created; put exitcode 0
    arr "$@" > "$T/cmd"; [ $# -gt 0 ] || [ -e "$T/entrypoint" ] || { rm -r "$T"; fail "No command specified"; }
    put path "${1-}"; [ $# -gt 0 ] && shift; arr "$@" > "$T/args"
    if [ -n "$name" ] && find_container "$name" && [ "$(get name)" = "$name" ]; then
        rm -r "$T"
        fail "Conflict. The container name \"/$name\" is already in use by container \"$ID\". You have to remove (or rename) that container to be able to reuse that name."
    fi
    ID=$(cat "$S/next-id" 2>/dev/null || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'); rm -f "$S/next-id"
    C=$T; put name "${name:-fake_$(echo "$ID" | cut -c1-6)}"
    [ -e "$T/hostname" ] || put hostname "$(echo "$ID" | cut -c1-12)"
    C=$ROOT/containers/$ID; mv "$T" "$C"; : > "$C/log"; echo "$ID" >> "$S/order"
    [ -z "$cidfile" ] || printf %s "$ID" > "$cidfile"
    [ "${QUIET:-}" ] || echo "$ID"
}

do_run() {
    QUIET=1; do_create "$@"; spawn; echo "$ID"
}

# The container's process. Where it prints to is read anew each time, so that a restore can move it.
# spawn [NUMBER]: what it counts from
spawn() {
    home=$S/procs/$ID.home; printf '%s\n' "$C/log" > "$home"
    first=$(wc -l < "$C/log")
    setsid sh -c 'i=$2; while [ $i -lt 3600 ] && to=$(cat "$1") && [ -d "${to%/*}" ]; do echo $i >> "$to"; i=$((i + 1)); sleep 1; done' \
        fake-container "$home" "${1:-0}" > /dev/null 2>&1 < /dev/null &
    # It has become what it stays when it has printed something.
    tries=0; while [ "$(wc -l < "$C/log")" = "$first" ] && [ $tries -lt 200 ]; do sleep 0.01; tries=$((tries + 1)); done
    echo $! >> "$S/pids"; runs $!
}
runs() { put pid "$1"; put started "$(now)"; put status running; put exitcode 0; rm -f "$C/error" "$C/finished"; }

# ended CODE: what the daemon does when the process has gone. The status comes last, and at once: somebody may wait for it.
ended() {
    put exitcode "$1"; put finished "$(now)"; rm -f "$C/pid"
    put status.new exited; mv "$C/status.new" "$C/status"
    if [ -e "$C/rm" ]; then rm -rf "$C"; fi
}
end_process() {
    p=$(get pid); [ -n "$p" ] && kill -KILL "$p" 2>/dev/null
    ended "$1"
}

do_stop() { end_all stop 137 "$@"; }
do_kill() { end_all kill 137 "$@"; }
end_all() {
    what=$1 code=$2; shift 2
    while :; do case ${1-} in -t|--time|-s|--signal) shift 2 ;; -*) shift ;; *) break ;; esac; done
    for x in "$@"; do
        if ! find_container "$x"; then
            [ "$what" = kill ] && ! old && fail "cannot kill container: $x: No such container: $x"
            fail "No such container: $x"
        fi
        if running; then end_process "$code"
        elif [ "$what" = kill ]; then
            # 17.09's text is not recorded
            if old; then fail "Cannot kill container: $x: Container $ID is not running"; fi
            fail "cannot kill container: $x: container $ID is not running"
        fi
        echo "$x"
    done
}

do_rm() {
    force=; while :; do case ${1-} in -f|--force|-fv|-vf) force=1; shift ;; -*) shift ;; *) break ;; esac; done
    for x in "$@"; do
        must_find "$x"
        if running; then
            # 17.09's text is not recorded
            if [ -z "$force" ] && old; then fail "You cannot remove a running container $ID. Stop the container before attempting removal or force remove"; fi
            [ -n "$force" ] || fail "cannot remove container \"/$(get name)\": container is running: stop the container before removing or force remove"
            end_process 137
        fi
        rm -rf "$C"; echo "$x"
    done
}

do_rename() {
    find_container "$1" || { daemon_says "No such container: $1"; echo "Error: failed to rename container named $1" >&2; exit 1; }
    find_container "$2" && [ "$(get name)" = "$2" ] && fail "Error when allocating new name: Conflict. The container name \"/$2\" is already in use by container \"$ID\". You have to remove (or rename) that container to be able to reuse that name."
    find_container "$1"
    put name "$2"
}
do_pause() { for x in "$@"; do must_find "$x"; kill -STOP "$(get pid)"; put status paused; echo "$x"; done; }
do_unpause() { for x in "$@"; do must_find "$x"; kill -CONT "$(get pid)"; put status running; echo "$x"; done; }
do_update() {
    while [ $# -gt 1 ]; do case $1 in --restart=*) policy=${1#*=} ;; --restart) policy=$2; shift ;; esac; shift; done
    must_find "$1"; put restart "$policy"; echo "$1"
}
do_diff() { must_find "$1"; get diff; }
do_events() { :; }
do_logs() {
    tail=all; while [ $# -gt 1 ]; do case $1 in --tail) tail=$2; shift ;; --tail=*) tail=${1#*=} ;; --since) shift ;; esac; shift; done
    must_find "$1"
    [ ! -e "$C/errors" ] || cat "$C/errors" >&2
    case $tail in all) cat "$C/log" ;; *) tail -n "$tail" "$C/log" ;; esac
}
do_wait() { for x in "$@"; do must_find "$x"; while running; do sleep 0.05; done; get exitcode; done; }

state() {
    printf '{"Status":"%s","Running":%s,"Paused":%s,"Restarting":false,"OOMKilled":false,"Dead":false,"Pid":%s,"ExitCode":%s,"Error":%s,"StartedAt":"%s","FinishedAt":"%s"}' \
        "$(get status)" "$(running && echo true || echo false)" "$([ "$(get status)" = paused ] && echo true || echo false)" \
        "$(get pid 0)" "$(get exitcode 0)" "$(js "$(get error)")" \
        "$(get started 0001-01-01T00:00:00Z)" "$(get finished 0001-01-01T00:00:00Z)"
}

describe() {
    restart=$(get restart no); most=0; case $restart in *:*) most=${restart#*:}; restart=${restart%:*} ;; esac
    network=$(get network "$(old && echo default || echo bridge)")
    labels=; if [ -e "$C/labels" ]; then while IFS= read -r x; do labels=$labels${labels:+,}$(js "${x%%=*}"):$(js "${x#*=}"); done < "$C/labels"; fi
    ports=; if [ -e "$C/ports" ]; then while IFS= read -r x; do ports=$ports${ports:+,}\"${x#*:}/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"${x%%:*}\"}]; done < "$C/ports"; fi
    mounts=; if [ -e "$C/binds" ]; then while IFS=: read -r from to mode; do mounts=$mounts${mounts:+,}{\"Type\":\"bind\",\"Source\":$(js "$from"),\"Destination\":$(js "$to"),\"Mode\":\"$mode\",\"RW\":$([ "$mode" = ro ] && echo false || echo true),\"Propagation\":\"rprivate\"}; done < "$C/binds"; fi
    entrypoint=null; [ -e "$C/entrypoint" ] && entrypoint=$(arr "$(get entrypoint)")
    cat <<END
{"Id":"$ID","Created":"$(get created)","Path":$(js "$(get path)"),"Args":$(get args),"State":$(state),"Image":"$(get imageid)",
"LogPath":"$C/log","Name":"/$(get name)","RestartCount":0,"Driver":"overlay2","Platform":"linux","MountLabel":"","ProcessLabel":"","AppArmorProfile":"","ExecIDs":null,
"HostConfig":{"Binds":$(lines "$C/binds"),"LogConfig":{"Type":"json-file","Config":{}},"NetworkMode":$(js "$network"),"PortBindings":{$ports},"RestartPolicy":{"Name":"$restart","MaximumRetryCount":$most},"AutoRemove":$(bool rm),"Privileged":$(bool privileged),"ReadonlyRootfs":$(bool read-only),"Runtime":$(js "$(get runtime runc)"),"Memory":$(get memory 0),"ShmSize":67108864},
"GraphDriver":{"Data":{"UpperDir":"$C/diff-files"},"Name":"overlay2"},"Mounts":[$mounts],
"Config":{"Hostname":$(js "$(get hostname)"),"Domainname":$(js "$(get domainname)"),"User":$(js "$(get user)"),"Tty":$(bool tty),"OpenStdin":$(bool stdin),"StdinOnce":$(bool stdin),"Env":$(lines "$C/env"),"Cmd":$(get cmd),"Image":$(js "$(get image)"),"Volumes":null,"WorkingDir":$(js "$(get workdir)"),"Entrypoint":$entrypoint,"Labels":{$labels}},
"NetworkSettings":{"Networks":{"$([ "$network" = default ] && echo bridge || echo "${network%%:*}")":{"IPAMConfig":null,"Links":null,"Aliases":null,"MacAddress":"","NetworkID":"","EndpointID":"","Gateway":"","IPAddress":"","IPPrefixLen":0}}}}
END
}

# in_format FORMAT: the few templates that are asked for
in_format() {
    case $1 in '{{json .State}}') state; echo; return ;; '{{json .}}') describe | tr -d '\n'; echo; return ;; esac
    printf '%s\n' "$1" | sed -e "s/{{.Id}}/$ID/g" -e "s/{{.ID}}/$(echo "$ID" | cut -c1-12)/g" -e "s/{{.State.Status}}/$(get status)/g" \
        -e "s/{{.State.Running}}/$(running && echo true || echo false)/g" -e "s/{{.State.Pid}}/$(get pid 0)/g" -e "s/{{.State.ExitCode}}/$(get exitcode)/g" \
        -e "s/{{.Names}}/$(get name)/g" -e "s|{{.Name}}|/$(get name)|g" -e "s/{{.Status}}/$(status)/g" -e "s|{{.Image}}|$(get imageid)|g"
}
status() {
    case $(get status) in
        running) echo 'Up 2 seconds' ;; paused) echo 'Up 2 seconds (Paused)' ;; created) echo Created ;;
        *) echo "Exited ($(get exitcode)) 2 seconds ago" ;;
    esac
}
do_inspect() {
    format=; names=
    while [ $# -gt 0 ]; do
        case $1 in -f|--format) format=$2; shift ;; --format=*) format=${1#*=} ;; --type) shift ;; --type=*) ;; *) names="$names $1" ;; esac; shift
    done
    for x in $names; do
        find_container "$x" || {
            [ -n "$format" ] && ! old && echo
            [ -n "$format" ] || echo '[]'
            echo "Error: No such object: $x" >&2; exit 1
        }
        if [ -n "$format" ]; then in_format "$format"; else echo "["; describe; echo "]"; fi
    done
}
do_ps() {
    all= format='{{.ID}} {{.Names}} {{.Status}}' like=
    while [ $# -gt 0 ]; do
        case $1 in -a|--all) all=1 ;; -q) format='{{.ID}}' ;; -aq) all=1 format='{{.ID}}' ;; --format) format=$2; shift ;; --format=*) format=${1#*=} ;;
            --filter) like=${2#name=}; shift ;; --filter=*) like=${1#*name=} ;; esac; shift
    done
    # The newest first.
    for ID in $(sed '1!G;h;$!d' "$S/order" 2>/dev/null); do
        C=$ROOT/containers/$ID; [ -d "$C" ] || continue
        { [ -n "$all" ] || running; } || continue
        case $(get name) in *"$like"*) in_format "$format" ;; esac
    done
}
