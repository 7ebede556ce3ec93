# For the steps, which source it: hosts `source` and `destination` are up and provisioned.
set -euo pipefail

transship() { "$TRANSSHIP" --ssh-config "$SSH_CONFIG" --timeout 120 "$@"; }
on() { ssh -F "$SSH_CONFIG" "$@"; }
die() {
    echo "$*" >&2
    exit 1
}

# An image of the busybox that a host has.
import_busybox() {
    on "$1" 'set -e; cd "$(mktemp -d)"; mkdir -p bin tmp; cp "$(command -v busybox)" bin/busybox; ln -s busybox bin/sh; ln -s busybox bin/sleep
        tar -c . | docker import - busybox >/dev/null'
}
# counter NAME HOST: a container that prints 0, 1, 2 …
counter() {
    on "$2" docker run -d --name "$1" busybox sh -c "'i=0; while true; do echo \$i; i=\$((i+1)); sleep 1; done'" >/dev/null
    until [ "$(last "$1" "$2")" -ge 3 ]; do sleep 2; done
}
# last NAME HOST: the number that it printed last; whatever follows that in its line does not count.
last() { on "$2" docker logs --tail 1 "$1" | awk '$1 ~ /^[0-9]+$/ { number = $1 } END { print number == "" ? -1 : number }'; }
# counts_on NAME HOST NUMBER: it prints more than it had printed before, and that soon.
counts_on() {
    local tries=0
    until [ "$(last "$1" "$2")" -gt "$3" ]; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || die "$1 stands still on $2"
        sleep 1
    done
}
# in_order: the numbers of standard input follow each other.
in_order() { awk 'NR > 1 && $1 != before + 1 { print "after " before " came " $1; exit 1 } { before = $1 }'; }
