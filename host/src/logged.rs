//! A host whose commands can be followed.

use crate::{Cmd, Host, Output, Result, Stream};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Listener = dyn Fn(&str, &Cmd, Option<i32>, Duration) + Send + Sync;

/// A host that tells what it runs, how each command ended and how long it took (`-v`).
///
/// Standard input and output are not told: memory images and keys go through them.
pub struct Logged {
    inner: Arc<dyn Host>,
    listener: Box<Listener>,
}

impl Logged {
    /// Wraps a host; `listener` hears host, command, exit status where it ended, and the time it took.
    pub fn new(
        inner: Arc<dyn Host>,
        listener: impl Fn(&str, &Cmd, Option<i32>, Duration) + Send + Sync + 'static,
    ) -> Self {
        Logged {
            inner,
            listener: Box::new(listener),
        }
    }
}

impl Host for Logged {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let start = Instant::now();
        let result = self.inner.run(cmd);
        let status = result.as_ref().ok().map(|output| output.status);
        (self.listener)(self.name(), cmd, status, start.elapsed());
        result
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        (self.listener)(self.name(), cmd, None, Duration::ZERO);
        self.inner.open(cmd)
    }
}
