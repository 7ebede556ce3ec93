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
        if ask::container(destination, container.kind(), &there)?.is_none() {
            let what = format!(
                "{name} uses the container {other} (a link to it, its volumes or its network), which is not on {on}"
            );
            return Err(Failure::refused(on, what).fix(format!(
                "move that one first: transship migrate {other} --from {} --to {on}",
                source.name()
            )));
        }
    }
    Ok(())
}
