//! The network of a frozen container: locked, since the kernel goes on acknowledging for a process that
//! stands still, and what it acknowledged after the dump would be lost.

use host::Cmd;
use runtime::lock;

fn cmd(pid: u32, shell: &[&str]) -> Cmd {
    Cmd::changes("nsenter")
        .args(["--target", &pid.to_string(), "--net", "sh"])
        .args(shell.iter().copied())
}

/// Locks the network of the container whose first process has this id on its host.
pub(super) fn lock(pid: u32) -> Cmd {
    cmd(pid, &lock::lock())
}

/// Unlocks it; that it is not locked is right too.
pub(super) fn unlock(pid: u32) -> Cmd {
    cmd(pid, &lock::unlock())
}

/// Tells the neighbours that its addresses are here. That they are not told only costs time.
pub(super) fn announce(pid: u32) -> Cmd {
    let script = format!("{} {} {pid} || :", runtime::PATH, runtime::ANNOUNCE);
    Cmd::changes("sh").args(["-c", &script])
}
