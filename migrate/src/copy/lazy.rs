//! What mode `post-copy` asks of the two hosts.

use crate::Failure;
use agent::PIPE;
use host::{Cmd, Host};

/// The number of CAP_SYS_RESOURCE, which is above that limit (capabilities(7)).
const SYS_RESOURCE: u32 = 24;
/// Since then a process may hold another's descriptors too (pidfd_getfd(2)).
const KERNEL: (u64, u64) = (5, 6);

/// The source can hand out pages.
pub(crate) fn serves(host: &dyn Host) -> Result<(), Failure> {
    let script =
        "cat /proc/sys/fs/pipe-max-size; sed -n 's/^CapEff:[[:space:]]*//p' /proc/self/status";
    let text = host.text(&Cmd::reads("sh").args(["-c", script]))?;
    if large_pipes(&text) {
        return Ok(());
    }
    let on = host.name();
    Err(Failure::refused(
        on,
        format!("pipes on {on} may not be large enough for CRIU's page server, which mode post-copy needs"),
    )
    .fix(format!("on {on}: sysctl -w fs.pipe-max-size=16777216"))
    .fix("--mode copy"))
}

/// The limit, and the capabilities in hexadecimal.
fn large_pipes(text: &str) -> bool {
    let mut lines = text.lines();
    let limit = lines
        .next()
        .and_then(|line| line.trim().parse::<u64>().ok());
    let capabilities = lines
        .next()
        .and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    limit.is_none_or(|limit| limit >= PIPE)
        || capabilities.is_some_and(|set| set >> SYS_RESOURCE & 1 == 1)
}

/// The destination can run a container before its memory is there.
pub(crate) fn fetches(host: &dyn Host) -> Result<(), Failure> {
    let on = host.name();
    let release = host.text(&Cmd::reads("uname").arg("-r"))?;
    let refuse = |what: &str| {
        Err(Failure::refused(
            on,
            format!("{what} on {on}, which mode post-copy needs (Linux {release})"),
        )
        .fix("--mode copy"))
    };
    if old(&release) {
        return refuse("the kernel has no pidfd_getfd (Linux 5.6)");
    }
    let check = Cmd::reads("criu").args(["check", "--feature", "uffd-noncoop"]);
    if host.run(&check)?.status != 0 {
        return refuse("CRIU cannot use userfaultfd");
    }
    Ok(())
}

fn old(release: &str) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|word| word.parse::<u64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < KERNEL,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_large_enough_or_root_is_above_the_limit() {
        assert!(large_pipes("16777216\n0000000000000000\n"));
        assert!(large_pipes("1048576\n000001ffffffffff\n"));
        assert!(!large_pipes("1048576\n000001fffeffffff\n"));
    }

    #[test]
    fn kernels() {
        assert!(old("4.19.0-27-amd64") && old("5.5.19"));
        assert!(!old("5.6.0") && !old("6.18.5-cloud") && !old("strange"));
    }
}
