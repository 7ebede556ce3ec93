//! Options for all verbs.

use crate::report::Talk;
use clap::{Args, ValueEnum};
use host::{Host, HostError, Logged, SshOptions, Target};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// When to colour.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// Where the output is a terminal that has colours
    Auto,
    Always,
    Never,
}

#[derive(Args)]
#[command(next_help_heading = "Options for all verbs")]
pub struct Common {
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Show each command and how it ended
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print the result only, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Read this ssh_config instead of yours
    #[arg(long, global = true, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
    /// Try this private key first
    #[arg(long, global = true, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Take and remember the keys of hosts never seen before; a changed key is always refused
    #[arg(long, global = true)]
    pub accept_new_host_keys: bool,
    /// How long connecting and logging in may take
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub timeout: u16,
}

impl Common {
    /// How the user called us, up to the verb, for commands to type next.
    pub fn invocation(&self) -> String {
        migrate::Reach {
            config: self.ssh_config.clone(),
            identity: self.identity.clone(),
        }
        .invocation()
    }

    /// Fixes that have transship do something on hosts get what was said before the verb: without it the hosts may not
    /// be reached by these names.
    pub fn complete_fixes<'f>(&self, fixes: impl IntoIterator<Item = &'f mut String>) {
        const ON_HOSTS: [&str; 3] = ["provision ", "doctor ", "migrate "];
        const ALONE: [&str; 3] = ["migrate undo", "migrate status", "doctor explain"];
        let invocation = self.invocation();
        for fix in fixes {
            let Some(rest) = fix.strip_prefix("transship ") else {
                continue;
            };
            let starts = |verbs: &[&str]| verbs.iter().any(|verb| rest.starts_with(verb));
            if starts(&ON_HOSTS) && !starts(&ALONE) {
                *fix = format!("{invocation} {rest}");
            }
        }
    }

    /// How hosts are reached, from whatever folder.
    pub fn reach(&self) -> migrate::Reach {
        let absolute = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        };
        migrate::Reach {
            config: absolute(&self.ssh_config),
            identity: absolute(&self.identity),
        }
    }

    /// Connects to a host; with `--verbose` each of its commands is told.
    pub fn connect(&self, target: &Target, talk: &Arc<Talk>) -> Result<Arc<dyn Host>, HostError> {
        self.connect_with(target, &self.ssh(), talk)
    }

    /// The same, with other SSH options than those of this call.
    pub fn connect_with(
        &self,
        target: &Target,
        ssh: &SshOptions,
        talk: &Arc<Talk>,
    ) -> Result<Arc<dyn Host>, HostError> {
        let host = target.connect(ssh)?;
        if !self.verbose {
            return Ok(host);
        }
        let talk = Arc::clone(talk);
        Ok(Arc::new(Logged::new(
            host,
            move |host, cmd, status, time| talk.command(host, cmd, status, time),
        )))
    }

    pub fn ssh(&self) -> SshOptions {
        SshOptions {
            config: self.ssh_config.clone(),
            identity: self.identity.clone(),
            accept_new_host_keys: self.accept_new_host_keys,
            timeout: Duration::from_secs(self.timeout.into()),
        }
    }
}
