//! Commands as values, and the hosts that run them.
//!
//! Everything that transship does to a machine is a [`Cmd`] given to a [`Host`]. No other crate
//! starts a process: so a plan can be shown before it runs, a host can be faked, and a transcript of
//! a real host is test data.

mod cmd;
mod dry;
mod error;
pub mod facts;
mod fake;
mod local;
mod logged;
mod ssh;
mod sudo;
mod target;
pub mod version;

pub use cmd::{Cmd, Effect, NO_LIMIT, Output, quote};
pub use dry::Dry;
pub use error::{HostError, Result};
pub use facts::{CriuCheck, Facts, Hardware};
pub use fake::Fake;
pub use local::{Child, Local};
pub use logged::Logged;
pub use ssh::{Ssh, SshOptions};
pub use sudo::Sudo;
pub use target::{BadTarget, Target};

use std::io::{Read, Write};
use std::time::Duration;

/// A machine that runs commands.
pub trait Host: Send + Sync {
    /// The host as the user wrote it (`local`, `root@a`, an alias of ssh_config).
    fn name(&self) -> &str;

    /// Runs a command to its end and returns what it printed, whatever its exit status.
    ///
    /// # Errors
    /// Only where the command could not be run to its end: program missing, host unreachable,
    /// connection lost, timeout.
    fn run(&self, cmd: &Cmd) -> Result<Output>;

    /// Starts a command whose standard input and output are streamed.
    ///
    /// # Errors
    /// As for [`Host::run`].
    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>>;

    /// Runs a command that must succeed and returns its standard output as text, trailing newline removed.
    ///
    /// # Errors
    /// [`HostError::Failed`] for an exit status other than 0, else as for [`Host::run`].
    fn text(&self, cmd: &Cmd) -> Result<String> {
        let output = self.run(cmd)?;
        if output.status != 0 {
            return Err(HostError::failed(self.name(), cmd, &output));
        }
        Ok(output.stdout_text().trim_end_matches('\n').to_owned())
    }

    /// Writes a file: complete or not at all, readable by its owner alone unless `mode` (octal) says more.
    ///
    /// # Errors
    /// As for [`Host::text`].
    fn put(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        // Two may write it at the same time: each has a file of its own until then.
        let script = r#"umask 077; new=$1.$$.new; cat > "$new" && chmod "$2" "$new" && mv -f "$new" "$1" || { rm -f "$new"; exit 1; }"#;
        let cmd = Cmd::changes("sh")
            .args(["-c", script, "sh", path, &format!("{mode:o}")])
            .stdin(bytes);
        self.text(&cmd).map(drop)
    }
}

/// A running command: read its standard output, write its standard input.
pub trait Stream: Read + Write + Send {
    /// Closes the command's standard input, so that it sees the end of its data.
    ///
    /// # Errors
    /// Where the connection is lost.
    fn close_stdin(&mut self) -> std::io::Result<()>;

    /// Waits until something can be read, or the end has come; false when neither was so for this long.
    ///
    /// # Errors
    /// Where the connection is lost.
    fn wait(&mut self, at_most: Duration) -> std::io::Result<bool>;

    /// Waits for the end; what is left of standard output and all of standard error is returned.
    ///
    /// # Errors
    /// As for [`Host::run`].
    fn finish(self: Box<Self>) -> Result<Output>;

    /// Bytes (sent, received) on the wire by this stream so far, encryption and framing included;
    /// none where the command runs on this machine.
    fn wire(&self) -> Option<(u64, u64)>;
}
