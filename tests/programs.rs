//! Real programs moved there and back in mode copy: their state and files, and new connections to them.

#[path = "support/packages.rs"]
mod packages;
#[path = "support/programs.rs"]
mod programs;
mod support;

use std::sync::OnceLock;
use support::{Lab, in_order};

fn lab() -> Option<&'static Lab> {
    static LAB: OnceLock<Option<Lab>> = OnceLock::new();
    LAB.get_or_init(|| {
        let lab = Lab::up("prog", "10.103.0.0/24", "docker-26")?;
        programs::import(&lab);
        Some(lab)
    })
    .as_ref()
}

/// Starts a program on host a.
fn start(lab: &Lab, name: &str, options: &str, script: &str) {
    lab.forget(name);
    let command = format!(
        "docker run -d --name {name} {options} {} sh -c '{}'",
        programs::IMAGE,
        script.replace('\'', r#"'"'"'"#)
    );
    lab.ok("a", &command);
}

/// What a script prints in the container.
#[track_caller]
fn inside(lab: &Lab, host: &str, name: &str, script: &str) -> String {
    lab.ok(
        host,
        &format!("docker exec -i {name} sh -eu <<'END'\n{script}\nEND"),
    )
}

/// Waits, in the container, until a condition holds.
#[track_caller]
fn until(lab: &Lab, host: &str, name: &str, condition: &str) {
    let script = format!(
        "for i in $(seq 300); do if {condition}; then exit 0; fi; sleep 0.1; done >/dev/null 2>&1; exit 1"
    );
    inside(lab, host, name, &script);
}

/// Sends bytes (`printf`'s form) to a published port of a host, from outside of the container; what came
/// back goes into a pipeline.
#[track_caller]
fn ask(lab: &Lab, host: &str, port: u16, bytes: &str, then: &str) -> String {
    let script = format!(
        r#"exec 3<>/dev/tcp/127.0.0.1/{port}; printf "{bytes}" >&3; timeout 20 cat <&3 | {then}"#
    );
    lab.ok(host, &format!("bash -c '{script}'"))
}

/// Moves it there and back. What `state` says stays the same; `lives` looks whether it goes on.
fn there_and_back(
    lab: &Lab,
    name: &str,
    state: impl Fn(&str) -> String,
    mut lives: impl FnMut(&str),
) {
    let before = state("a");
    assert!(!before.is_empty());
    lives("a");
    for (from, to) in [("a", "b"), ("b", "a")] {
        lab.run(&["migrate", name, "--from", from, "--to", to])
            .expect(0);
        assert_eq!(state(to), before, "{name} on {to}");
        lives(to);
    }
}

#[test]
fn redis_while_data_is_written() {
    let Some(lab) = lab() else { return };
    let name = "redis";
    start(
        lab,
        name,
        "-p 7101:6379 -v /data",
        r#"redis-server --dir /data --appendonly yes --save "" --protected-mode no --unixsocket /tmp/s &
           until i=$(redis-cli -s /tmp/s llen written) && [ "$i" -ge 0 ]; do sleep 0.1; done
           while true; do echo RPUSH written $i; i=$((i + 1)); usleep 2000; done | redis-cli -s /tmp/s >/dev/null"#,
    );
    until(lab, "a", name, "redis-cli -s /tmp/s ping");
    inside(
        lab,
        "a",
        name,
        "seq 20000 | awk '{ print \"SET key\" $1, \"value\" $1 * 7 }' | redis-cli -n 1 >/dev/null",
    );
    let state = |host: &str| {
        inside(
            lab,
            host,
            name,
            r#"redis-cli -n 1 eval "local k = redis.call('keys', '*') table.sort(k) local h = '' for _, k in ipairs(k) do h = redis.sha1hex(h .. k .. redis.call('get', k)) end return h .. #k" 0
               redis-cli info server | grep run_id"#,
        )
    };
    // The list that is being written has every number once, in order.
    let written = |host: &str| -> u64 {
        let said = inside(
            lab,
            host,
            name,
            r#"redis-cli eval "for i, v in ipairs(redis.call('lrange', 'written', 0, -1)) do if tonumber(v) ~= i - 1 then return 'gap at ' .. i end end return redis.call('llen', 'written')" 0"#,
        );
        said.parse().unwrap_or_else(|_| panic!("{said} on {host}"))
    };
    let mut last = 0;
    there_and_back(lab, name, state, |host| {
        let now = written(host);
        assert!(now > last, "nothing was lost: {now} after {last}");
        until(
            lab,
            host,
            name,
            &format!("[ $(redis-cli llen written) -gt {now} ]"),
        );
        last = written(host);
        assert_eq!(
            ask(lab, host, 7101, r"PING\r\nQUIT\r\n", "head -n 1"),
            "+PONG"
        );
    });
    // Its files went along too: killed, it reads them again.
    lab.ok("a", &format!("docker kill {name} && docker start {name}"));
    until(
        lab,
        "a",
        name,
        &format!("[ $(redis-cli llen written) -gt {last} ]"),
    );
    written("a");
    lab.forget(name);
}

#[test]
fn nginx_with_files_and_open_logs() {
    let Some(lab) = lab() else { return };
    let name = "nginx";
    start(
        lab,
        name,
        "-p 7102:80",
        r#"mkdir /srv /etc/nginx; dd if=/dev/urandom of=/srv/file bs=1M count=3
           echo "user root; worker_processes 2; daemon off; error_log /var/log/nginx/error.log; events {} http {
               access_log /var/log/nginx/access.log; server { listen 80; root /srv; } }" >/etc/nginx/nginx.conf
           mkdir -p /var/log/nginx; exec nginx -c /etc/nginx/nginx.conf"#,
    );
    until(lab, "a", name, "wget -q -O /dev/null http://127.0.0.1/file");
    let state = |host: &str| {
        let sums = inside(
            lab,
            host,
            name,
            "pgrep nginx | sort -n; sha256sum /srv/file; stat -c '%a %u %g' /var/log/nginx/*; cat /var/log/nginx/error.log",
        );
        // No line that was logged before may be missing or changed.
        let first = inside(lab, host, name, "head -n 1 /var/log/nginx/access.log");
        format!("{sums} {first}")
    };
    let mut requests = 1;
    there_and_back(lab, name, state, |host| {
        let served = ask(
            lab,
            host,
            7102,
            r"GET /file HTTP/1.0\r\n\r\n",
            r#"sed "1,/^\r$/d" | sha256sum"#,
        );
        let file = inside(lab, host, name, "sha256sum </srv/file");
        assert_eq!(served, file);
        requests += 1;
        let logged = inside(lab, host, name, "wc -l </var/log/nginx/access.log");
        assert_eq!(logged, requests.to_string(), "lines logged on {host}");
    });
    // It still takes its signals: the log is begun anew.
    inside(
        lab,
        "a",
        name,
        "cd /var/log/nginx; mv access.log old.log; nginx -c /etc/nginx/nginx.conf -s reopen; until [ -e access.log ]; do usleep 1000; done; wget -q -O /dev/null http://127.0.0.1/file",
    );
    assert_eq!(
        inside(lab, "a", name, "wc -l </var/log/nginx/access.log"),
        "1"
    );
    lab.forget(name);
}

/// Threads, a child with pipes, a file that has no name any more, one that is locked, one that grows, and memory, each
/// of which must agree with the others at every step: it ends where they do not.
const PYTHON: &str = r#"
import fcntl, hashlib, os, threading, time
there, back = os.pipe(), os.pipe()
if os.fork() == 0:
    total = 0
    while True:
        total += int.from_bytes(os.read(there[0], 8), "little")
        os.write(back[1], total.to_bytes(8, "little"))
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
hidden = open("/tmp/hidden", "w+b")
os.unlink("/tmp/hidden")
locked = open("/var/lock-of-it", "w")
fcntl.flock(locked, fcntl.LOCK_EX)
fcntl.lockf(locked, fcntl.LOCK_EX)
def free():
    try:
        fcntl.flock(open("/var/lock-of-it"), fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
file = open("/var/numbers", "w")
chain, memory, i, seen = b"", [], 0, 0
while True:
    chain = hashlib.sha256(chain + str(i).encode()).digest()
    memory.append(chain)
    hidden.seek(0, 2)
    hidden.write(chain)
    hidden.seek(0)
    assert hidden.read() == b"".join(memory)
    assert not free()
    file.write(f"{i} {chain.hex()}\n")
    file.flush()
    os.write(there[1], i.to_bytes(8, "little"))
    assert int.from_bytes(os.read(back[0], 8), "little") == i * (i + 1) // 2
    print(i, flush=True)
    i += 1
    while ticks == seen:
        time.sleep(0.005)
    seen = ticks
"#;

#[test]
fn python_with_threads_a_child_and_files() {
    let Some(lab) = lab() else { return };
    let name = "python";
    start(
        lab,
        name,
        "",
        &format!("cat >/program.py <<'EOF'\n{PYTHON}\nEOF\nexec python3 /program.py"),
    );
    until(lab, "a", name, "[ -s /var/numbers ]");
    let state = |host: &str| {
        inside(
            lab,
            host,
            name,
            "sha256sum /program.py; head -n 1 /var/numbers",
        )
    };
    there_and_back(lab, name, state, |host| {
        let said = lab.numbers(host, name);
        in_order(&said, 0);
        until(
            lab,
            host,
            name,
            &format!("[ $(wc -l </var/numbers) -gt {} ]", said.len() + 3),
        );
        // The chain in the file is that of its numbers, without a gap.
        inside(
            lab,
            host,
            name,
            r#"cat >/check.py <<'EOF'
import hashlib
chain = b""
for i, line in enumerate(open("/var/numbers").read().split("\n")[:-1]):
    chain = hashlib.sha256(chain + str(i).encode()).digest()
    assert line == f"{i} {chain.hex()}", line
EOF
python3 /check.py"#,
        );
    });
    in_order(&lab.numbers("a", name), 0);
    lab.forget(name);
}

#[test]
fn postgres_with_sessions_and_writes() {
    let Some(lab) = lab() else { return };
    let name = "postgres";
    start(
        lab,
        name,
        "-e PGHOST=/tmp -e PGUSER=postgres -p 7104:5432 -v /var/lib/postgresql",
        r#"D=/var/lib/postgresql/data; mkdir -p $D; chown 70 $D
           initdb() { LD_PRELOAD=/usr/lib/not-root.so command initdb "$@"; }
           postgres() { LD_PRELOAD=/usr/lib/not-root.so command postgres "$@"; }
           [ -e $D/PG_VERSION ] || initdb -D $D -A trust --no-locale -E UTF8 --no-sync
           postgres -D $D -c unix_socket_directories=/tmp -c "listen_addresses=*" &
           until psql -c "create table if not exists written (n bigint)"; do sleep 0.2; done
           psql -c "create table if not exists fixed as select g, md5(g::text) m from generate_series(1, 20000) g"
           (echo "begin; lock table fixed in row share mode;"; tail -f /dev/null) | psql &
           i=$(psql -At -c "select count(*) from written")
           while true; do echo "insert into written values ($i);"; i=$((i + 1)); usleep 5000; done | psql -q"#,
    );
    let sql =
        |host: &str, query: &str| inside(lab, host, name, &format!("psql -At -c \"{query}\""));
    until(
        lab,
        "a",
        name,
        r#"[ "$(psql -At -c "select count(*) from pg_locks where mode = 'RowShareLock' and relation = 'fixed'::regclass")" = 1 ] && [ "$(psql -At -c "select count(*) from written")" -gt 5 ]"#,
    );
    // The tables, the session that is within a transaction, and the server itself.
    let state = |host: &str| {
        sql(
            host,
            "select md5(string_agg(g || m, ',' order by g)) from fixed union all \
             select pid || state || xact_start from pg_stat_activity where state = 'idle in transaction' \
             union all select pg_postmaster_start_time()::text",
        )
    };
    let written = |host: &str| -> u64 {
        let said = sql(
            host,
            "select count(*), count(distinct n), coalesce(max(n), 0) + 1 from written",
        );
        let three: Vec<u64> = said.split('|').map(|n| n.parse().unwrap()).collect();
        assert!(three.iter().all(|n| *n == three[0]), "{said} on {host}");
        three[0]
    };
    let mut last = 0;
    there_and_back(lab, name, state, |host| {
        let now = written(host);
        assert!(now > last);
        until(
            lab,
            host,
            name,
            &format!("[ $(psql -At -c 'select count(*) from written') -gt {now} ]"),
        );
        last = written(host);
        // A new connection asks for TLS, and is told that there is none.
        let answer = ask(
            lab,
            host,
            7104,
            r"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            "head -c 1",
        );
        assert_eq!(answer, "N");
    });
    // Killed, it recovers from its files.
    lab.ok("a", &format!("docker kill {name} && docker start {name}"));
    until(
        lab,
        "a",
        name,
        &format!("[ $(psql -At -c 'select count(*) from written') -gt {last} ]"),
    );
    written("a");
    lab.forget(name);
}

#[test]
fn a_go_program_with_state_in_memory() {
    let Some(lab) = lab() else { return };
    let name = "gateway";
    start(lab, name, "-p 7105:9091", "exec prometheus-pushgateway");
    until(
        lab,
        "a",
        name,
        "wget -q -O /dev/null http://127.0.0.1:9091/-/ready",
    );
    let push = |host: &str, job: &str, number: u32| {
        let body = format!("pushed {number}\n");
        let answer = ask(
            lab,
            host,
            7105,
            &format!(
                r"POST /metrics/job/{job} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}",
                body.len(),
                body.replace('\n', r"\n")
            ),
            "head -n 1",
        );
        assert!(answer.contains("200"), "{answer}");
    };
    for job in 1..20 {
        push("a", &format!("first{job}"), job * 7);
    }
    let metrics = |host: &str| {
        ask(
            lab,
            host,
            7105,
            r"GET /metrics HTTP/1.0\r\n\r\n",
            r#"grep "^pushed\|^push_time_seconds" | sort"#,
        )
    };
    let state = |host: &str| {
        let all = metrics(host);
        let first: Vec<&str> = all.lines().filter(|line| !line.contains("later")).collect();
        first.join("\n")
    };
    let mut later = 0;
    there_and_back(lab, name, state, |host| {
        later += 1;
        push(host, &format!("later{later}"), later);
        let pushed = metrics(host);
        assert_eq!(pushed.matches("pushed{").count(), 19 + later as usize);
    });
    lab.forget(name);
}
