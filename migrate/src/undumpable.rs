//! What no mode can move since CRIU cannot dump it: the doctor's checks of the running container, before the freeze.

use crate::Failure;
use doctor::check::{Verdict, undumpable};
use engine::Container;
use host::Host;
use host::facts::container::Container as Seen;

/// None of these checks fails, but for those to be ignored.
pub(crate) fn none(
    host: &dyn Host,
    container: &Container,
    ignore: &[String],
) -> Result<(), Failure> {
    let (on, name) = (host.name(), container.name());
    let seen = Seen::glance(host, container.id())?;
    let mut bad = undumpable(on, name, &seen);
    bad.retain(|verdict| !ignore.contains(&verdict.id));
    if bad.is_empty() {
        return Ok(());
    }
    let all = |part: fn(&Verdict) -> String| bad.iter().map(part).collect::<Vec<_>>().join("; ");
    let found = all(|verdict| {
        let found = verdict.found.as_deref().unwrap_or_default();
        format!("{} ({found})", verdict.sentence)
    });
    let mut failure = Failure::refused(on, format!("CRIU cannot dump {name} on {on}: {found}"));
    failure.cause = Some(all(|verdict| {
        verdict.needed_because.clone().unwrap_or_default()
    }));
    failure.fix = bad.iter().flat_map(|verdict| verdict.fix.clone()).collect();
    let ignoring = bad
        .iter()
        .map(|verdict| format!(" --ignore {}", verdict.id));
    let ignoring: String = ignoring.collect();
    Err(failure.fix(format!("or try it all the same:{ignoring}")))
}
