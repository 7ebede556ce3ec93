//! The proof that a container went on and was not started anew.
//!
//! When a program starts, the kernel puts its stack, arguments and environment at random addresses;
//! CRIU's restore puts them back where they were. So the same addresses in `/proc/PID/stat` before and
//! after mean that it is the same run of the program, whatever the program is.

use crate::context::Side;
use crate::{Failure, ask};
use engine::Name;
use host::{Cmd, Host};
use serde::{Deserialize, Serialize};

/// Where the container's first process has its code, stack, heap, arguments and environment: fields
/// 26 to 28 and 45 to 51 of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layout {
    addresses: Vec<u64>,
    /// Whether the kernel randomizes addresses there; without it equal addresses prove nothing.
    randomized: bool,
}

/// What comparing two layouts says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WentOn {
    Yes,
    StartedAnew,
    Unknown,
}

impl Layout {
    /// Reads the layout of a process; none where it is gone.
    pub fn read(host: &dyn Host, pid: u32) -> host::Result<Option<Self>> {
        let output = host.run(&Self::cmd(pid))?;
        Ok(Self::parse(&output.stdout_text()))
    }

    fn cmd(pid: u32) -> Cmd {
        Cmd::reads("cat").args([
            format!("/proc/{pid}/stat"),
            "/proc/sys/kernel/randomize_va_space".to_owned(),
        ])
    }

    fn parse(text: &str) -> Option<Self> {
        let (stat, randomize) = text.trim_end().rsplit_once('\n')?;
        // The program's name stands in parentheses and may hold anything, `)` and newlines too.
        let (_, after) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        // The first field after the name is the third of all.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let addresses = (26..=28)
            .chain(45..=51)
            .map(field)
            .collect::<Option<Vec<u64>>>()?;
        // A kernel without these fields, or one that hides them, shows zeros.
        if addresses[2] == 0 {
            return None;
        }
        Some(Layout {
            addresses,
            randomized: randomize.trim() != "0",
        })
    }

    /// Whether `later` is the same run of the same program.
    pub fn compare(&self, later: &Layout) -> WentOn {
        if self.addresses != later.addresses {
            WentOn::StartedAnew
        } else if later.randomized {
            WentOn::Yes
        } else {
            WentOn::Unknown
        }
    }
}

/// The layout of a container on a side, where it runs.
pub(crate) fn of(side: &Side, id: &Name) -> Result<Option<Layout>, Failure> {
    let state = ask::state(&*side.host, side.engine.kind(), id)?;
    match state.pid {
        Some(pid) if state.running => Ok(Layout::read(&*side.host, pid)?),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use host::Local;

    const STAT: &str = "18 (sh) (x) S 1 18 18 0 -1 4194560 320 0 0 0 0 0 0 0 20 0 1 0 100 4571136 208 18446744073709551615 \
        4198400 5939837 140732920751344 0 0 0 0 0 65538 1 0 0 17 1 0 0 0 0 0 6205984 6235252 22261760 140732920753041 \
        140732920753100 140732920753100 140732920754160 0";

    #[test]
    fn the_same_addresses_are_the_same_run() {
        let before = Layout::parse(&format!("{STAT}\n2\n")).unwrap();
        assert_eq!(before.compare(&before.clone()), WentOn::Yes);
        let anew = STAT.replace("140732920751344", "140732920751999");
        let anew = Layout::parse(&format!("{anew}\n2\n")).unwrap();
        assert_eq!(before.compare(&anew), WentOn::StartedAnew);
        let fixed = Layout::parse(&format!("{STAT}\n0\n")).unwrap();
        assert_eq!(before.compare(&fixed), WentOn::Unknown);
    }

    #[test]
    fn two_starts_of_one_program_differ_and_one_process_equals_itself() {
        let start = || {
            std::process::Command::new("sleep")
                .arg("60")
                .spawn()
                .unwrap()
        };
        let (mut one, mut two) = (start(), start());
        let read = |pid| Layout::read(&Local, pid).unwrap().unwrap();
        // Until exec has happened the child still has our own layout.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let (first, second) = (read(one.id()), read(two.id()));
        assert_ne!(first.compare(&read(one.id())), WentOn::StartedAnew);
        if first.randomized {
            assert_eq!(first.compare(&second), WentOn::StartedAnew);
        }
        for child in [&mut one, &mut two] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_that_is_gone_or_hidden_has_no_layout() {
        assert_eq!(Layout::parse("2\n"), None);
        assert_eq!(Layout::parse("1 (x) S 0 0\n2\n"), None);
        assert_eq!(Layout::parse(""), None);
    }
}
