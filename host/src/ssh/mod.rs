//! A host reached over SSH, through libssh2.
//!
//! libssh2 blocks a whole session while one of its channels reads, so each command has a session to
//! itself: idle ones are kept and used again. The user's configuration is resolved by `ssh -G`, known
//! host keys are looked up by `ssh-keygen -F`: both read every form that OpenSSH reads.

mod config;
mod exec;
mod known_hosts;
mod session;
mod stream;
mod wire;

use crate::{Cmd, Host, HostError, Output, Result, Stream};
use config::SshConfig;
use session::Connection;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// How to log in.
#[derive(Debug, Clone)]
pub struct SshOptions {
    /// ssh_config to read instead of the user's.
    pub config: Option<PathBuf>,
    /// Private key to try before those of the configuration.
    pub identity: Option<PathBuf>,
    /// Take the key of a host that was never seen before, and remember it. A changed key is always refused.
    pub accept_new_host_keys: bool,
    /// How long connecting and logging in may take.
    pub timeout: Duration,
}

impl Default for SshOptions {
    fn default() -> Self {
        SshOptions {
            config: None,
            identity: None,
            accept_new_host_keys: false,
            timeout: Duration::from_secs(15),
        }
    }
}

/// A host reached over SSH.
pub struct Ssh {
    name: String,
    config: SshConfig,
    options: SshOptions,
    idle: Mutex<Vec<Connection>>,
}

impl Ssh {
    /// Connects and logs in; `name` is what messages call the host.
    ///
    /// # Errors
    /// [`HostError::Unreachable`], with what to do about it.
    pub fn connect(
        name: &str,
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
        options: &SshOptions,
    ) -> Result<Self> {
        let config = SshConfig::resolve(name, host, user, port, options)?;
        let first = Connection::open(name, &config, options)?;
        Ok(Ssh {
            name: name.to_owned(),
            config,
            options: options.clone(),
            idle: Mutex::new(vec![first]),
        })
    }

    /// The user that we logged in as.
    pub(crate) fn user(&self) -> &str {
        &self.config.user
    }

    fn connection(&self) -> Result<Connection> {
        let idle = self
            .idle
            .lock()
            .expect("no panic while the list is held")
            .pop();
        match idle {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.name, &self.config, &self.options),
        }
    }
}

impl Host for Ssh {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let connection = self.connection()?;
        let output = exec::run(&self.name, &connection, cmd)?;
        self.idle
            .lock()
            .expect("no panic while the list is held")
            .push(connection);
        if output.status == 127 && output.stderr_text().contains("not found") {
            return Err(HostError::NoProgram {
                host: self.name.clone(),
                program: cmd.program.clone(),
            });
        }
        Ok(output)
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        let connection = self.connection()?;
        Ok(Box::new(stream::SshStream::open(
            &self.name, connection, cmd,
        )?))
    }
}
