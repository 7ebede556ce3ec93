//! One at a time: whoever changes a host's configuration holds its lock.

use host::{Cmd, Host, HostError, Stream};
use std::io::Read;
use std::time::Duration;

/// Longest time that a host may stay locked.
const LOCKED: Duration = Duration::from_secs(4 * 3600);

/// Holds the lock for as long as we hold its standard input: it cannot outlive us. Its file says who we are.
const LOCK: &str = r#"
file=/run/lock/transship-provision
mkdir -p /run/lock
exec 9>>$file
if ! flock -w "$1" 9; then echo "busy $(cat $file)"; exit 0; fi
echo "$2, since $(date -u +%H:%M:%S) UTC" >$file
echo locked
cat >/dev/null
: >$file
"#;

/// Why a host is not locked.
#[derive(Debug, thiserror::Error)]
pub enum Unlocked {
    /// Somebody else holds the lock; who, where they say it.
    #[error("another transship is at work on this host{}", holder(.0))]
    Busy(String),
    /// The host did not do what it was told.
    #[error(transparent)]
    Host(#[from] HostError),
}

fn holder(who: &str) -> String {
    match who {
        "" => String::new(),
        who => format!(" ({who})"),
    }
}

/// This process, as others are told of it.
fn ourselves() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    format!("{user} at {}, process {}", name.trim(), std::process::id())
}

/// Locks the host for us, and waits so long for others; the lock goes when the stream does.
///
/// # Errors
/// Where somebody else keeps the lock, or the host cannot be asked.
pub fn lock(host: &dyn Host, wait: Duration) -> Result<Box<dyn Stream>, Unlocked> {
    let cmd = Cmd::changes("sh")
        .args(["-c", LOCK, "transship-lock"])
        .arg(wait.as_secs().to_string())
        .arg(ourselves())
        .stand_in("locked\n")
        .timeout(LOCKED);
    let mut stream = host.open(&cmd)?;
    let mut said = Vec::new();
    let mut byte = [0];
    while !said.ends_with(b"\n") {
        match stream.read(&mut byte) {
            Ok(1) => said.push(byte[0]),
            Ok(_) => break,
            Err(error) => {
                return Err(Unlocked::Host(HostError::Lost {
                    host: host.name().to_owned(),
                    doing: "taking the lock /run/lock/transship-provision".to_owned(),
                    why: error.to_string(),
                }));
            }
        }
    }
    let said = String::from_utf8_lossy(&said);
    match (said.as_ref(), said.trim_end().strip_prefix("busy")) {
        ("locked\n", _) => Ok(stream),
        (_, Some(who)) => Err(Unlocked::Busy(who.trim().to_owned())),
        _ => {
            let output = stream.finish()?;
            Err(HostError::failed(host.name(), &cmd, &output).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_dry_run_locks_nothing_and_goes_on() {
        let shown = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&shown);
        let dry = host::Dry::new(Arc::new(host::Local), move |_, _| {
            *counted.lock().unwrap() += 1;
        });
        lock(&dry, Duration::from_secs(1)).unwrap();
        assert_eq!(*shown.lock().unwrap(), 1);
    }
}
