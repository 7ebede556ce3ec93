//! Phase `rounds` of mode `pre-copy`: memory is sent while the container runs, again and again what changed
//! since.

use super::flow::{PATIENCE, Shared};
use super::freeze::explain;
use super::thaw;
use crate::context::Context;
use crate::event::Event as Told;
use crate::pipeline::{Doubt, Phase};
use crate::rounds::PreCopy;
use crate::{Failure, ask};
use agent::{ENOUGH, Event, ROUND};
use doctor::check::memory_is_tracked;
use host::facts::criu::{self, DIRTY_TRACKING};
use host::facts::kernel::Setting;
use host::{Cmd, Host};
use std::time::Instant;

/// The source's kernel tells which pages changed: by the judgement of doctor's `kernel.soft-dirty`.
pub(crate) fn tracks(host: &dyn Host) -> Result<(), Failure> {
    let on = host.name();
    let feature = criu::feature(host, DIRTY_TRACKING)?;
    if memory_is_tracked(Some(feature), Setting::Unknown) == Some(true) {
        return Ok(());
    }
    let release = host.text(&Cmd::reads("uname").arg("-r"))?;
    Err(Failure::refused(
        on,
        format!(
            "the kernel of {on} (Linux {release}) does not track which memory changes, which mode pre-copy needs: doctor's check kernel.soft-dirty, criu check --feature {DIRTY_TRACKING}"
        ),
    )
    .fix("--mode copy")
    .fix("--mode post-copy, where the pause must be short"))
}

/// Sends rounds until the freeze would be short, or more of them would not make it any shorter.
pub(super) struct Rounds {
    flow: Shared,
}

impl Rounds {
    pub fn new(flow: &Shared) -> Self {
        Rounds { flow: flow.clone() }
    }

    fn round(&self, context: &mut Context, all: &mut PreCopy) -> Result<(), Failure> {
        let mut flow = self.flow.lock();
        let (begun, before) = (Instant::now(), flow.carried());
        flow.tell_source(ROUND)?;
        let told = flow.carry(context, "rounds", |event| {
            matches!(event, Event::Round { .. })
        })?;
        flow.hear(context, "rounds", PATIENCE, |event| *event == Event::Pass)?;
        let Event::Round { pages, .. } = told else {
            return Err(Failure::failed(context.source.name(), "a round is missing"));
        };
        let (bytes, seconds) = (flow.carried() - before, begun.elapsed().as_secs_f64());
        let round = all.add(pages, bytes, seconds, context.memory);
        context.tell(Told::Round {
            number: all.rounds.len(),
            round,
        });
        Ok(())
    }

    fn all(&self, context: &mut Context, all: &mut PreCopy) -> Result<(), Failure> {
        while all.stop.is_none() {
            self.round(context, all)?;
        }
        self.flow.lock().tell_source(ENOUGH)
    }
}

impl Phase for Rounds {
    fn name(&self) -> &'static str {
        "rounds"
    }

    fn title(&self, context: &Context) -> String {
        format!("memory of {}, while it runs", context.name)
    }

    fn run(&mut self, context: &mut Context) -> Result<(), Failure> {
        if context.options.dry_run {
            return Ok(());
        }
        let goal = context.options.max_downtime;
        let mut all = PreCopy::new(goal.map(|goal| goal.as_secs_f64()));
        let before = self.flow.lock().carried();
        let ended = self.all(context, &mut all);
        if let (Ok(()), Some((expected, goal))) = (&ended, all.misses()) {
            let why = all.stop.map_or("", |stop| stop.because());
            context.warn(format!(
                "the pause was expected to be about {expected:.1} s, longer than --max-downtime {goal} s, after {} rounds: {why}",
                all.rounds.len()
            ));
        }
        context.measured.pre_copy = Some(all);
        context.measured.phase_bytes = Some(self.flow.lock().carried() - before);
        ended.map_err(|failure| explain(context, failure))
    }

    fn undo(&mut self, context: &mut Context) -> Result<(), Doubt> {
        self.flow.lock().end();
        if context.options.dry_run || context.source_done {
            return Ok(());
        }
        let (name, source) = (&context.name, context.source.name());
        // A CRIU that ended half-way leaves it frozen, and the engine does not know of that.
        let cmds: Vec<Cmd> = [Some(thaw::ended(name)), thaw::melt(&context.container)]
            .into_iter()
            .flatten()
            .collect();
        let doubt = |why: String| Doubt {
            what: format!(
                "it is not known whether {name} runs on {source} or stands frozen: {why}; it runs nowhere else"
            ),
            fix: cmds
                .iter()
                .map(|cmd| format!("on {source}: {}", cmd.line()))
                .collect(),
        };
        let state = ask::state(&*context.source.host, context.kind(), name)
            .map_err(|failure| doubt(failure.what))?;
        if !state.running || state.paused {
            // It ended by itself, or somebody else paused it.
            return Ok(());
        }
        for cmd in &cmds {
            let said = context.source.host.text(cmd);
            said.map_err(|error| doubt(error.to_string()))?;
        }
        Ok(())
    }
}
