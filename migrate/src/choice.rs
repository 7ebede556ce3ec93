//! Which engine of a host: the one that has the container, and the same one on the destination.

use crate::copy::{lazy, rounds};
use crate::{Failure, Options, ask};
use engine::{Container, Engine, EngineError, Kind, Name};
use host::Host;

/// The engines of a host.
pub(crate) struct Engines {
    working: Vec<Engine>,
    broken: Vec<(Kind, EngineError)>,
}

impl Engines {
    pub fn of(host: &dyn Host) -> Result<Self, Failure> {
        let (working, broken) = Engine::probe(host)?;
        Ok(Engines { working, broken })
    }

    /// The container of that name, and the engine that has it.
    pub fn with(self, host: &dyn Host, name: &Name) -> Result<(Engine, Container), Failure> {
        let on = host.name();
        let mut found = Vec::new();
        for engine in &self.working {
            if let Some(container) = ask::container(host, engine.kind(), name)? {
                found.push((engine.clone(), container));
            }
        }
        if found.len() > 1 {
            return Err(Failure::refused(
                on,
                format!("both Docker and Podman on {on} have a container {name}"),
            )
            .fix(format!(
                "give the one that stays another name, on {on}: docker rename {name} {name}-2, or podman rename {name} {name}-2"
            )));
        }
        if let Some(found) = found.pop() {
            return Ok(found);
        }
        let mut running = Vec::new();
        for engine in &self.working {
            let text = host.text(&engine.kind().names()).unwrap_or_default();
            running.extend(text.split_whitespace().map(str::to_owned));
        }
        let running = if running.is_empty() {
            "none".to_owned()
        } else {
            running.join(", ")
        };
        let mut failure = Failure::refused(on, format!("there is no container {name} on {on}"))
            .fix(format!("containers that run on {on}: {running}"));
        let down = |error: &EngineError| !matches!(error, EngineError::Missing { .. });
        for (_, error) in self.broken.iter().filter(|(_, error)| down(error)) {
            failure.cause = Some(format!(
                "perhaps it is one of an engine that could not be asked: {error}"
            ));
            failure.fix.push(error.fix());
        }
        Err(failure)
    }

    /// The engine of that kind, for a container of `source`.
    pub fn same(self, kind: Kind, host: &dyn Host, source: &str) -> Result<Engine, Failure> {
        let on = host.name();
        if let Some(engine) = self
            .working
            .into_iter()
            .find(|engine| engine.kind() == kind)
        {
            return Ok(engine);
        }
        let said = self.broken.into_iter().find(|(broken, _)| *broken == kind);
        Err(match said {
            Some((_, error)) => error.into(),
            None => Failure::refused(
                on,
                format!("the container is one of {kind} on {source}, and {on} has no {kind}"),
            ),
        })
    }
}

/// Whether two hosts can do what is asked for, whatever the container.
///
/// # Errors
/// What is refused between them, or a host that could not be asked.
pub fn suits(source: &dyn Host, destination: &dyn Host, options: &Options) -> Result<(), Failure> {
    if options.mode.has_rounds() {
        rounds::tracks(source)?;
    }
    if options.leaves_pages() {
        lazy::serves(source)?;
        lazy::fetches(destination)?;
    }
    Ok(())
}
