# What all commands of the fake use; see docker.

old() { [ "$V" = 17.09.1 ]; }
fault() { grep -qx "$1" "$S/fault" 2>/dev/null; }
daemon_says() { echo "Error response from daemon: $*" >&2; }
fail() { daemon_says "$*"; exit 1; }
now() { date -u +%Y-%m-%dT%H:%M:%S.000000000Z; }

# js TEXT: a JSON string; arr TEXT...: a JSON list; lines FILE: a JSON list of a file's lines, null if there are none
js() { printf '"%s"' "$(printf '%s' "$1" | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' | awk 'NR>1{printf "\\n"}{printf "%s",$0}')"; }
arr() { out=; for x in "$@"; do out=$out${out:+,}$(js "$x"); done; printf '[%s]' "$out"; }
lines() {
    [ -s "$1" ] || { printf null; return; }
    out=; while IFS= read -r x; do out=$out${out:+,}$(js "$x"); done < "$1"; printf '[%s]' "$out"
}
get() { cat "$C/$1" 2>/dev/null || printf '%s' "${2:-}"; }
# Whoever reads meanwhile gets the old one or the new one.
put() { printf '%s\n' "$2" > "$C/.$1.$$" && mv "$C/.$1.$$" "$C/$1"; }
bool() { [ -e "$C/$1" ] && printf true || printf false; }

# find_container NAME: sets C (its folder) and ID
find_container() {
    for C in "$ROOT"/containers/*; do
        [ -d "$C" ] || continue
        ID=${C##*/}
        [ "$(get name)" = "${1#/}" ] && return 0
        case $ID in "$1"*) return 0 ;; esac
    done
    return 1
}
must_find() { find_container "$1" || fail "No such container: $1"; }
running() { case $(get status) in running|paused) return 0 ;; *) return 1 ;; esac; }

experimental() { if fault experimental-off; then printf false; else printf true; fi; }

client_version() {
    case "$*" in
        *--format*) sed 's/,"Server":.*/,"Server":null}/' "$DATA/version.json" ;;
        *) sed -n '1,/^$/p' "$DATA/version.txt" | sed '$d' ;;
    esac
}
do_version() {
    case "$*" in
        *'.Server.Version'*) sed 's/.*"Server":.*"Version":"\([^"]*\)","ApiVersion".*/\1/' "$DATA/version.json" ;;
        *'.Server.Experimental'*) experimental; echo ;;
        # A daemon of 17.09 without experimental features leaves the key out.
        *--format*)
            if ! fault experimental-off; then cat "$DATA/version.json"
            elif old; then sed 's/"Experimental":true,//' "$DATA/version.json"
            else sed 's/"Experimental":"*true"*/"Experimental":false/g' "$DATA/version.json"; fi ;;
        *) sed "s/Experimental: .*/Experimental: $(experimental)/" "$DATA/version.txt" ;;
    esac
}
do_info() {
    case "$*" in
        *ExperimentalBuild*) experimental; echo ;;
        *DockerRootDir*) echo "$ROOT" ;;
        *) sed -e "s|\"DockerRootDir\":\"[^\"]*\"|\"DockerRootDir\":\"$ROOT\"|" \
               -e "s/\"ExperimentalBuild\":true/\"ExperimentalBuild\":$(experimental)/" "$DATA/info.json" ;;
    esac
}

image_name() { case ${1##*/} in *:*) echo "$1" ;; *) echo "$1:latest" ;; esac; }
# image_id NAME|ID: prints its id
image_id() {
    f=$S/images/$(image_name "$1" | tr / %)
    [ -f "$f" ] && { cat "$f"; return 0; }
    grep -hx "$1" "$S"/images/* 2>/dev/null | head -1 | grep . 
}
do_image_inspect() {
    [ "$1" = -- ] && shift
    id=$(image_id "$1") || {
        echo '[]'
        if old; then echo "Error: No such image: $1" >&2; else daemon_says "No such image: $(image_name "$1")"; fi
        exit 1
    }
    tags=; for f in "$S"/images/*; do [ "$(cat "$f")" = "$id" ] && tags="$tags $(basename "$f" | tr % /)"; done
    # shellcheck disable=SC2086 # one word for each tag
    echo "[{\"Id\":\"$id\",\"RepoTags\":$(arr $tags),\"Config\":{\"Env\":null,\"Cmd\":null,\"Entrypoint\":null,\"Labels\":null,\"WorkingDir\":\"\",\"User\":\"\"},\"Architecture\":\"amd64\",\"Os\":\"linux\",\"Size\":3559716}]"
}
do_save() {
    for x in "$@"; do
        id=$(image_id "$x") || fail "No such image: $x"
        echo "fake-image $(image_name "$x") $id"
    done
}
do_load() {
    while read -r word name id; do
        [ "$word" = fake-image ] || fail 'unexpected EOF'
        case $name in sha256:*) f=$id ;; *) f=$name ;; esac
        echo "$id" > "$S/images/$(printf %s "$f" | tr / %)"; echo "Loaded image: $name"
    done
}
do_tag() { id=$(image_id "$1") || fail "No such image: $1"; echo "$id" > "$S/images/$(image_name "$2" | tr / %)"; }

do_network_inspect() {
    case $1 in
        bridge|host|none) ;;
        *) [ -e "$S/networks/$1" ] || { echo '[]'; echo "Error: No such network: $1" >&2; exit 1; } ;;
    esac
    echo "[{\"Name\":$(js "$1"),\"Driver\":\"$(cat "$S/networks/$1" 2>/dev/null || echo "$1")\",\"Scope\":\"local\"}]"
}
do_network_connect() { while [ $# -gt 2 ]; do shift; done; must_find "$2"; echo "$1" >> "$C/networks"; }
do_volume_inspect() {
    [ -e "$S/volumes/$1" ] || { echo '[]'; echo "Error: No such volume: $1" >&2; exit 1; }
    echo "[{\"Name\":$(js "$1"),\"Driver\":\"local\",\"Mountpoint\":\"$ROOT/volumes/$1/_data\",\"Labels\":null,\"Options\":null,\"Scope\":\"local\"}]"
}
do_volume_create() { for x in "$@"; do :; done; mkdir -p "$ROOT/volumes/$x/_data"; : > "$S/volumes/$x"; echo "$x"; }
