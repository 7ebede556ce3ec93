//! A host that is only looked at.

use crate::{Cmd, Effect, Host, HostError, Output, Result, Stream};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

type Listener = dyn Fn(&str, &str) + Send + Sync;

/// A host on which commands that read are run and commands that change are only shown: no phase can
/// forget that it runs dry.
pub struct Dry {
    inner: Arc<dyn Host>,
    listener: Box<Listener>,
}

impl Dry {
    /// Wraps a host; `listener` hears of each command that was not run.
    pub fn new(
        inner: Arc<dyn Host>,
        listener: impl Fn(&str, &str) + Send + Sync + 'static,
    ) -> Self {
        Dry {
            inner,
            listener: Box::new(listener),
        }
    }

    fn show(&self, cmd: &Cmd) {
        (self.listener)(self.inner.name(), &cmd.brief());
    }
}

impl Host for Dry {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        if cmd.effect == Effect::Reads {
            return self.inner.run(cmd);
        }
        self.show(cmd);
        Ok(Output {
            stdout: cmd.stand_in.clone().into_bytes(),
            ..Output::default()
        })
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        if cmd.effect == Effect::Reads {
            return self.inner.open(cmd);
        }
        self.show(cmd);
        Ok(Box::new(DryStream(cmd.stand_in.clone().into_bytes())))
    }
}

/// Swallows what it is sent; prints the command's stand-in.
struct DryStream(Vec<u8>);

impl Read for DryStream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0.drain(..n);
        Ok(n)
    }
}

impl Write for DryStream {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Stream for DryStream {
    fn close_stdin(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, _: Duration) -> std::io::Result<bool> {
        Ok(true)
    }

    fn finish(self: Box<Self>) -> std::result::Result<Output, HostError> {
        Ok(Output {
            stdout: self.0,
            ..Output::default()
        })
    }

    fn wire(&self) -> Option<(u64, u64)> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Local;
    use std::sync::Mutex;

    #[test]
    fn what_reads_runs_and_what_changes_is_shown() {
        let shown = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&shown);
        let dry = Dry::new(Arc::new(Local), move |host, line| {
            listener.lock().unwrap().push(format!("{host}: {line}"));
        });
        assert_eq!(dry.text(&Cmd::reads("echo").arg("real")).unwrap(), "real");
        let id = dry
            .text(&Cmd::changes("docker").arg("create").stand_in("<id>"))
            .unwrap();
        assert_eq!(id, "<id>");
        dry.put("/no/such/folder/x", b"x", 0o600).unwrap();
        let shown = shown.lock().unwrap();
        assert_eq!(shown[0], "local: docker create");
        assert_eq!(shown.len(), 2);
    }
}
