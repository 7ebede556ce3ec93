//! Checks of two hosts: whether containers can move from the first to the second.

mod between;
mod cpu;
mod engine;
mod system;

use super::catalogue::Check;
use super::subject::Subject;
use host::facts::criu::Judgement;
pub use host::facts::link::Link;

/// Two hosts under examination.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Where the container runs.
    pub source: Subject<'a>,
    /// Where it shall run.
    pub destination: Subject<'a>,
    /// What was measured between them.
    pub link: Option<Link>,
    /// What CRIU on the destination says of the source's processor
    /// ([`host::facts::criu::judge_cpu`] with the image of the source's
    /// [`CpuInfo`](host::facts::criu::CpuInfo)), or why it did not answer; `None` where it was not asked.
    pub cpu: Option<Result<&'a Judgement, &'a str>>,
}

/// All checks of a pair.
pub(super) fn checks<'p>() -> Vec<Check<Pair<'p>>> {
    let mut checks = system::checks();
    checks.extend(between::checks());
    checks.extend(cpu::checks());
    checks.extend(engine::checks());
    checks
}
