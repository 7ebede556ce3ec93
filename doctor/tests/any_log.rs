//! Any input is explained: quickly, without a panic, without certainty where there is none.

use std::io::{BufReader, Read};
use std::time::{Duration, Instant};

use doctor::explain::{Confidence, Explanation, Given, RULES, explain};
use proptest::prelude::*;

fn of(log: &[u8]) -> Explanation {
    explain(log, &Given::default()).expect("memory can be read")
}

proptest! {
    #[test]
    fn any_bytes(log in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let said = of(&log);
        prop_assert!(said.lines <= log.len());
    }

    #[test]
    fn examples_cut_and_mixed(rule in 0..RULES.len(), cut in 0.0..1.0f64, other in 0..RULES.len(), junk in "\\PC{0,80}") {
        let text = RULES[rule].examples[0].as_bytes();
        let mut log = text[..(text.len() as f64 * cut) as usize].to_vec();
        log.extend_from_slice(junk.as_bytes());
        log.extend_from_slice(RULES[other].examples[0].as_bytes());
        let said = of(&log);
        for diagnosis in &said.diagnoses {
            prop_assert!(!diagnosis.evidence.is_empty());
            prop_assert!(diagnosis.evidence.iter().all(|e| (1..=said.lines).contains(&e.line)));
        }
    }

    #[test]
    fn any_versions(kernel in "\\PC{0,20}", criu in "[0-9.~:+a-z-]{0,20}", engine in "(docker|podman|lxd|x)", v in "[0-9.]{0,12}") {
        let given = Given { kernel: Some(kernel), criu: Some(criu), engine: Some(engine), engine_version: Some(v) };
        for rule in RULES.iter().step_by(20) {
            explain(rule.examples[0].as_bytes(), &given).expect("memory can be read");
        }
    }
}

#[test]
fn lines_that_only_repeat_a_failure_are_no_cause() {
    for log in [
        "Error response from daemon: Cannot checkpoint container a: runc did not terminate successfully: criu failed: type NOTIFY errno 0 path= /run/x/criu-dump.log: unknown",
        "(00.47) Unfreezing tasks into 1\n(00.473314) Error (criu/cr-dump.c:2111): Dumping FAILED.\n",
        "Error (criu/cr-restore.c:2320): Restoring FAILED.",
        "CRIU checkpointing failed -52. Please check CRIU logfile /var/lib/x/dump.log",
        "exit status 1",
        "",
    ] {
        let said = of(log.as_bytes());
        assert!(said.diagnoses.is_empty(), "{log}: {:?}", said.diagnoses);
        assert!(!said.collect.is_empty());
    }
}

#[test]
fn a_message_names_the_log_to_fetch() {
    let said = of(
        b"Error: criu failed: type NOTIFY errno 0\nlog file: /run/ctr/77/work/restore.log: unknown",
    );
    assert!(
        said.collect[0].contains("/run/ctr/77/work/restore.log |"),
        "{:?}",
        said.collect
    );
}

#[test]
fn the_cause_goes_before_what_follows_from_it() {
    let said = of(b"(00.01) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.12)      1: Error (criu/util.c:656): exited, status=1
(00.16)      1: Error (criu/files-reg.c:2175): File srv/app has bad size 9 (expect 8)
(00.17)      1: Error (criu/mem.c:911): Can't fixup VMA's fd
(00.18) Error (criu/cr-restore.c:1480): 22 killed by signal 9: Killed
(00.19) Error (criu/cr-restore.c:2320): Restoring FAILED.
(00.20) Error (criu/cgroup.c:1998): cg: cgroupd: recv req error: No such file or directory
");
    assert_eq!(said.diagnoses.len(), 1, "{:?}", said.diagnoses);
    assert_eq!(said.diagnoses[0].id, "rootfs-file-changed");
    assert_eq!(said.diagnoses[0].confidence, Confidence::High);
    assert_eq!(said.diagnoses[0].evidence[0].line, 3);
    assert_eq!(said.noise, 3);
    assert!(said.unexplained.is_empty(), "{:?}", said.unexplained);
}

#[test]
fn a_good_run_has_no_sure_diagnosis() {
    let said = of(b"(00.01) Error (criu/util.c:1533): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.02) Warn  (criu/kerndat.c:900): Dirty tracking is OFF. Memory snapshot will not work.
(00.03) Error (criu/cgroup.c:1300): cg: Failed writing 1 to cpuset//x/cpuset.cpus: Permission denied
(00.04) Dumping finished successfully
");
    assert!(said.succeeded);
    assert!(
        said.diagnoses
            .iter()
            .all(|d| d.confidence == Confidence::Low),
        "{:?}",
        said.diagnoses
    );
}

#[test]
fn a_version_that_does_not_fit_rules_a_cause_out() {
    let log = b"(00.03) Error (criu/vdso.c:381): vdso: Unexpected rt vDSO area bounds\n";
    let given = |criu: &str| Given {
        criu: Some(criu.to_owned()),
        ..Given::default()
    };
    let old = explain(&log[..], &given("3.17.1-2")).expect("memory can be read");
    assert_eq!(old.diagnoses[0].confidence, Confidence::High);
    let new = explain(&log[..], &given("4.2.1")).expect("memory can be read");
    assert!(new.diagnoses.is_empty());
    assert!(
        new.ruled_out
            .iter()
            .any(|r| r.id == "vdso-vvar-6.13" && r.why.contains("4.2.1"))
    );
}

#[test]
fn wrapped_and_prettified_messages_are_read() {
    let said = of("Error (criu/files-reg.c:1031): Can\u{2019}t dump ghost\n   file /x of 99 size,\n increase limit\n".as_bytes());
    assert_eq!(said.diagnoses[0].id, "ghost-file-limit");
    let said = of(b"\x1b[31mError (criu/pstree.c:1): The root process 5 is not a session leader. Consider using --shell-job\x1b[0m\r\n");
    assert_eq!(said.diagnoses[0].id, "shell-job");
    assert!(!said.diagnoses[0].evidence[0].text.contains('\x1b'));
}

#[test]
fn long_logs_take_time_in_proportion() {
    // 8 MB here; memory is bounded, so a longer one takes longer and no more.
    let line = b"(00.123456)     14: sockets:    set keepidle for socket, and so on until the line is of usual length\n";
    let log = std::iter::repeat_n(&line[..], 80_000);
    let bytes: Vec<u8> = log.flatten().copied().collect();
    let started = Instant::now();
    let said = explain(BufReader::new(&bytes[..]), &Given::default()).expect("memory can be read");
    assert_eq!(said.lines, 80_000);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
}

/// A reader of `left` bytes that repeats `text` and keeps none of them.
struct Repeated {
    text: &'static [u8],
    at: usize,
    left: usize,
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = &self.text[self.at..];
        let length = rest.len().min(buffer.len()).min(self.left);
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at = (self.at + length) % self.text.len();
        self.left -= length;
        Ok(length)
    }
}

/// What is said of 100 MB; a reading that hangs fails the test instead of holding it up.
fn of_100_mb(text: &'static [u8]) -> Explanation {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let log = Repeated {
            text,
            at: 0,
            left: 100_000_000,
        };
        let said = explain(BufReader::new(log), &Given::default()).expect("memory can be read");
        let _ = tell.send(said);
    });
    told.recv_timeout(Duration::from_secs(600))
        .expect("100 MB are read to their end")
}

#[test]
fn errors_of_100_mb_are_read_to_their_end() {
    // Every line is tried against rules; most have one.
    let text = b"(00.01) Error (criu/sk-inet.c:188): inet: Connected TCP socket, consider using --tcp-established option.\n\
        (00.02) Error (criu/files.c:1): something that nobody knows: Operation not permitted, errno 1\n\
        Error response from daemon: Cannot checkpoint container a: runc did not terminate successfully\n";
    let said = of_100_mb(text);
    assert!(said.lines > 900_000, "{}", said.lines);
    assert_eq!(said.diagnoses[0].id, "tcp-established-flag");
}

#[test]
fn a_line_without_end_of_100_mb_is_cut() {
    assert_eq!(of_100_mb(b"x").lines, 1);
    let said = of_100_mb(b"Error (criu/sk-inet.c:188): inet: Connected TCP socket, ");
    assert_eq!(said.lines, 1);
}
