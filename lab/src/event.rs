//! What the lab tells while it works.

use serde::Serialize;

/// Something that happened while a lab came up or went down.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A step begins.
    Begin {
        /// What is done, as a short phrase ("root file system trixie").
        step: String,
    },
    /// How far a step is.
    Progress {
        /// The step, as its `Begin` named it.
        step: String,
        /// What it does right now.
        detail: String,
        /// Share done, 0 to 1, an estimate.
        share: f64,
    },
    /// A step ended well.
    End {
        /// The step, as its `Begin` named it.
        step: String,
        /// How long it took.
        seconds: f64,
    },
    /// Something worth knowing.
    Note {
        /// A sentence.
        text: String,
    },
}

/// Tells of a step's begin and end around `work`.
pub(crate) fn step<T, E>(
    on: &mut dyn FnMut(Event),
    name: &str,
    work: impl FnOnce(&mut dyn FnMut(Event)) -> Result<T, E>,
) -> Result<T, E> {
    let started = std::time::Instant::now();
    on(Event::Begin {
        step: name.to_owned(),
    });
    let done = work(on)?;
    on(Event::End {
        step: name.to_owned(),
        seconds: started.elapsed().as_secs_f64(),
    });
    Ok(done)
}

/// Tells something worth knowing.
pub(crate) fn note(on: &mut dyn FnMut(Event), text: impl Into<String>) {
    on(Event::Note { text: text.into() });
}
