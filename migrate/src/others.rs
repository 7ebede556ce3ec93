//! Other containers that the one to be moved cannot be created without.

use crate::{Failure, ask};
use engine::{Container, Name};
use host::Host;

/// The containers are there that this one needs.
pub(crate) fn there(
    source: &dyn Host,
    destination: &dyn Host,
    container: &Container,
) -> Result<(), Failure> {
    let (on, name) = (destination.name(), container.name());
    for other in container.others() {
        let Ok(there) = Name::new(&other) else {
            continue;
        };
        // What the engine keeps of a namespace that is shared; on another host that container has another id.
        if other.len() == 64 && other.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let what = format!(
                "{name} shares a namespace of the container {}, whose id no container on {on} has",
                &other[..12]
            );
            let program = container.kind().program();
            return Err(Failure::refused(on, what).fix(format!(
                "start it anew on {on} beside that one: {program} run --network container:NAME ..."
            )));
        }
        if ask::container(destination, container.kind(), &there)?.is_none() {
            let what = format!(
                "{name} uses the container {other} (a link to it, or its volumes), which is not on {on}"
            );
            return Err(Failure::refused(on, what).fix(format!(
                "move that one first: transship migrate {other} --from {} --to {on}",
                source.name()
            )));
        }
    }
    Ok(())
}
