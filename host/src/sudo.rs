//! A host that lets us in as an ordinary user, who may become root.

use crate::{Cmd, Host, HostError, Output, Result, Stream};
use std::sync::Arc;

/// Where a distribution's programs and those of the administrator are. What sudo sets instead may lack
/// /usr/local (Red Hat's), and our user's own has no `sbin`.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";

/// A host whose commands run as root through `sudo -n`, which never asks.
pub struct Sudo {
    inner: Arc<dyn Host>,
}

impl Sudo {
    /// The host as it is where its commands are root's already, or where the user may not become root
    /// without a password; else with sudo before each command.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn where_needed(host: Arc<dyn Host>) -> Result<Arc<dyn Host>> {
        let script = r#"if [ "$(id -u)" != 0 ] && command -v sudo >/dev/null && sudo -n true; then echo sudo; fi"#;
        let output = host.run(&Cmd::reads("sh").args(["-c", script]))?;
        Ok(match output.stdout_text().trim() {
            "sudo" => Arc::new(Sudo { inner: host }),
            _ => host,
        })
    }

    fn wrap(cmd: &Cmd) -> Cmd {
        let variables = cmd
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut wrapped = cmd.clone();
        wrapped.program = "sudo".to_owned();
        wrapped.env.clear();
        wrapped.args = ["-n", "--", "env", "LC_ALL=C", PATH]
            .into_iter()
            .map(str::to_owned)
            .chain(variables)
            .chain([cmd.program.clone()])
            .chain(cmd.args.iter().cloned())
            .collect();
        wrapped
    }

    /// The error without what we put before the command.
    fn unwrap(cmd: &Cmd, mut error: HostError) -> HostError {
        match &mut error {
            HostError::Lost { doing, .. }
            | HostError::Timeout { doing, .. }
            | HostError::Failed { doing, .. } => *doing = cmd.brief(),
            HostError::NoProgram { .. } | HostError::Unreachable { .. } => {}
        }
        error
    }
}

impl Host for Sudo {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let output = self
            .inner
            .run(&Sudo::wrap(cmd))
            .map_err(|error| Sudo::unwrap(cmd, error))?;
        // In env's words, which stands between sudo and the program.
        let missing = format!("env: '{}': No such file", cmd.program);
        let said = output.stderr_text().replace(['\u{2018}', '\u{2019}'], "'");
        if output.status == 127 && said.contains(&missing) {
            return Err(HostError::NoProgram {
                host: self.name().to_owned(),
                program: cmd.program.clone(),
            });
        }
        Ok(output)
    }

    fn open(&self, cmd: &Cmd) -> Result<Box<dyn Stream>> {
        self.inner
            .open(&Sudo::wrap(cmd))
            .map_err(|error| Sudo::unwrap(cmd, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fake;
    use std::time::Duration;

    fn with_sudo(fake: Fake) -> Arc<dyn Host> {
        Sudo::where_needed(Arc::new(fake.on("sh -c", "sudo\n"))).unwrap()
    }

    #[test]
    fn commands_are_run_as_root_with_their_environment() {
        let fake = Fake::new("a").on("sudo -n -- env", "done");
        let host = with_sudo(fake);
        let cmd = Cmd::changes("apt-get").arg("update").env("A", "b c");
        assert_eq!(host.text(&cmd).unwrap(), "done");
        let wrapped = Sudo::wrap(&cmd).line();
        assert!(wrapped.ends_with("'A=b c' apt-get update"), "{wrapped}");
        assert_eq!(Sudo::wrap(&cmd).effect, cmd.effect);
    }

    #[test]
    fn without_a_right_to_it_the_host_stays_as_it_is() {
        let fake = Fake::new("a").on("sh -c", "").on("id", "1000");
        let host = Sudo::where_needed(Arc::new(fake)).unwrap();
        assert_eq!(host.text(&Cmd::reads("id")).unwrap(), "1000");
    }

    #[test]
    fn errors_tell_of_the_command_and_not_of_sudo() {
        let cmd = Cmd::reads("docker").arg("ps");
        let late = HostError::Timeout {
            host: "a".to_owned(),
            doing: "sudo -n".to_owned(),
            after: Duration::from_secs(1),
        };
        let host = with_sudo(Fake::new("a").on_error("sudo", late));
        let error = host.run(&cmd).unwrap_err().to_string();
        assert!(error.contains("`docker ps`"), "{error}");
        let missing = Output {
            status: 127,
            stderr: "env: \u{2018}docker\u{2019}: No such file or directory".into(),
            ..Output::default()
        };
        let host = with_sudo(Fake::new("a").on_output("sudo", missing));
        let error = host.run(&cmd).unwrap_err();
        assert!(matches!(error, HostError::NoProgram { program, .. } if program == "docker"));
    }
}
