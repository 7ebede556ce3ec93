//! Connecting and logging in.

use super::SshOptions;
use super::config::SshConfig;
use super::known_hosts::{self, Known};
use super::wire::{self, Wire};
use crate::{HostError, Result};
use socket2::{SockRef, Socket, TcpKeepalive};
use ssh2::{MethodType, Session};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Sent data that nobody acknowledges for this long means that the other side is gone.
const DEAD_AFTER: Duration = Duration::from_secs(20);

/// A logged-in session, for one command at a time.
pub(super) struct Connection {
    pub session: Session,
    pub socket: UnixStream,
    pub wire: Arc<Wire>,
}

/// What can be known about why logging in failed.
struct Context<'a> {
    name: &'a str,
    config: &'a SshConfig,
    options: &'a SshOptions,
}

impl Context<'_> {
    fn error(&self, what: impl Into<String>, fix: impl Into<String>) -> HostError {
        HostError::Unreachable {
            host: self.name.to_owned(),
            what: what.into(),
            fix: fix.into(),
        }
    }

    /// The plain `ssh` command that meets the same trouble and says more.
    fn ssh_line(&self) -> String {
        let mut words = vec!["ssh".to_owned()];
        if let Some(file) = &self.options.config {
            words.push(format!("-F {}", crate::quote(&file.to_string_lossy())));
        }
        if let Some(file) = &self.options.identity {
            words.push(format!("-i {}", crate::quote(&file.to_string_lossy())));
        }
        if self.config.port != 22 {
            words.push(format!("-p {}", self.config.port));
        }
        words.push(format!("{}@{}", self.config.user, self.config.hostname));
        words.join(" ")
    }
}

impl Connection {
    /// Connects, checks the host's key and logs in.
    pub fn open(name: &str, config: &SshConfig, options: &SshOptions) -> Result<Self> {
        let context = Context {
            name,
            config,
            options,
        };
        let wire = Arc::new(Wire::default());
        let network = match &config.proxy {
            Some(_) => context.proxied()?,
            None => context.dial()?,
        };
        let ours =
            |error: std::io::Error| context.error(format!("no socket: {error}"), "ulimit -n 4096");
        let theirs = wire::carry(network, &wire).map_err(ours)?;
        let socket = theirs.try_clone().map_err(ours)?;
        let mut session =
            Session::new().map_err(|error| context.error(error.to_string(), context.ssh_line()))?;
        session.set_tcp_stream(theirs);
        session.set_timeout(millis(options.timeout));
        let known_as = config.known_as();
        let keys = known_hosts::look_up(&known_as, &config.known_hosts_files)?;
        prefer_known_kinds(&session, &keys);
        session.handshake().map_err(|error| {
            context.error(
                format!(
                    "{}:{} does not speak SSH with us: {}",
                    config.hostname,
                    config.port,
                    error.message()
                ),
                context.ssh_line(),
            )
        })?;
        context.check_key(&session, &known_as, &keys)?;
        context.log_in(&session)?;
        session.set_keepalive(true, 5);
        session.set_blocking(false);
        Ok(Connection {
            session,
            socket,
            wire,
        })
    }
}

impl Context<'_> {
    fn dial(&self) -> Result<Socket> {
        let (host, port) = (self.config.hostname.as_str(), self.config.port);
        let addresses = (host, port).to_socket_addrs().map_err(|error| {
            self.error(
                format!("the name {host} cannot be resolved: {error}"),
                format!(
                    "getent hosts {}; or give its address, or an alias of your ssh_config",
                    crate::quote(host)
                ),
            )
        })?;
        let mut why = "it has no address".to_owned();
        for address in addresses {
            match TcpStream::connect_timeout(&address, self.options.timeout) {
                Ok(stream) => {
                    let socket = SockRef::from(&stream);
                    // Best effort: without them a dead peer is noticed later, by the command's timeout.
                    let _ = socket.set_tcp_nodelay(true);
                    let _ = socket.set_tcp_user_timeout(Some(DEAD_AFTER));
                    let _ = socket
                        .set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(5)));
                    return Ok(Socket::from(stream));
                }
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        Err(self.error(
            format!("no connection to {why}"),
            format!(
                "is the host up, sshd running and port {port} open? Try: {}",
                self.ssh_line()
            ),
        ))
    }

    /// Starts the proxy command of the configuration with a socket as its standard input and output.
    fn proxied(&self) -> Result<Socket> {
        let cmd = self
            .config
            .proxy
            .as_ref()
            .expect("asked only where there is one");
        let start = || -> std::io::Result<UnixStream> {
            let (ours, theirs) = UnixStream::pair()?;
            let output = OwnedFd::from(theirs.try_clone()?);
            duct::cmd(&cmd.program, &cmd.args)
                .stdin_file(OwnedFd::from(theirs))
                .stdout_file(output)
                .stderr_null()
                .start()?;
            Ok(ours)
        };
        let socket = start().map_err(|error| {
            self.error(
                format!("the proxy `{}` does not start: {error}", cmd.line()),
                self.ssh_line(),
            )
        })?;
        Ok(Socket::from(socket))
    }

    fn check_key(
        &self,
        session: &Session,
        known_as: &str,
        keys: &[known_hosts::KnownKey],
    ) -> Result<()> {
        let Some((key, kind)) = session.host_key() else {
            return Err(self.error("it showed no host key", self.ssh_line()));
        };
        let base64 = base64(key);
        let kind = kind_name(kind);
        let hash = session
            .host_key_hash(ssh2::HashType::Sha256)
            .map(self::base64)
            .unwrap_or_default();
        let print = format!("{kind} SHA256:{}", hash.trim_end_matches('='));
        let files = &self.config.known_hosts_files;
        let first = files
            .first()
            .map(|file| file.display().to_string())
            .unwrap_or_default();
        match known_hosts::judge(keys, &base64) {
            Known::Yes => Ok(()),
            Known::New if self.config.accept_new => {
                known_hosts::remember(self.name, known_as, kind, &base64, files)
            }
            Known::New => Err(self.error(
                format!("its host key is not known here: {print}"),
                format!(
                    "compare that with `ssh-keygen -lf /etc/ssh/ssh_host_{}_key.pub` on the host, then add --accept-new-host-keys",
                    kind.trim_start_matches("ssh-").split('-').next().unwrap_or("ed25519")
                ),
            )),
            Known::Changed => Err(self.error(
                format!("its host key HAS CHANGED: it shows {print}, {first} has another. The host was installed anew, or somebody listens in"),
                format!("only if you know why it changed: ssh-keygen -R {} -f {}", crate::quote(known_as), crate::quote(&first)),
            )),
            Known::Revoked => Err(self.error(format!("its host key {print} is marked as revoked"), "do not connect to it")),
        }
    }

    fn log_in(&self, session: &Session) -> Result<()> {
        let user = &self.config.user;
        let mut tried = Vec::new();
        if self.options.identity.is_some() || self.config.identities_only {
            self.try_files(session, &mut tried);
            self.try_agent(session, &mut tried);
        } else {
            self.try_agent(session, &mut tried);
            self.try_files(session, &mut tried);
        }
        if session.authenticated() {
            return Ok(());
        }
        let tried = if tried.is_empty() {
            "there is no key to try".to_owned()
        } else {
            format!("tried {}", tried.join(", "))
        };
        Err(self.error(
            format!("it does not let user `{user}` in: {tried}"),
            format!("is `{user}` the right user? Copy your key there: ssh-copy-id {user}@{}; or name the key: --identity FILE", self.config.hostname),
        ))
    }

    fn try_agent(&self, session: &Session, tried: &mut Vec<String>) {
        if session.authenticated() || std::env::var_os("SSH_AUTH_SOCK").is_none() {
            return;
        }
        let Ok(mut agent) = session.agent() else {
            return;
        };
        if agent.connect().is_err() || agent.list_identities().is_err() {
            return;
        }
        for key in agent.identities().unwrap_or_default() {
            if agent.userauth(&self.config.user, &key).is_ok() {
                return;
            }
            tried.push(format!("the agent's key {}", key.comment()));
        }
    }

    fn try_files(&self, session: &Session, tried: &mut Vec<String>) {
        for file in &self.config.identity_files {
            if session.authenticated() {
                return;
            }
            if !file.exists() {
                if self.options.identity.as_deref() == Some(file) {
                    tried.push(format!("{} (no such file)", file.display()));
                }
                continue;
            }
            if session
                .userauth_pubkey_file(&self.config.user, None, file, None)
                .is_err()
            {
                tried.push(format!("{}{}", file.display(), locked(file)));
            }
        }
    }
}

/// Says so where a key file needs a passphrase: only the agent can hold those open.
fn locked(file: &Path) -> &'static str {
    match std::fs::read_to_string(file) {
        // An unencrypted OpenSSH key names cipher and KDF "none" in its first bytes.
        Ok(text)
            if text.contains("BEGIN OPENSSH")
                && !text.contains("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ") =>
        {
            " (it needs a passphrase: ssh-add it)"
        }
        Ok(text) if text.contains("ENCRYPTED") => " (it needs a passphrase: ssh-add it)",
        Err(_) => " (cannot be read)",
        Ok(_) => "",
    }
}

/// Asks the server for a key of a kind that is known, so that a second kind does not look like a change.
fn prefer_known_kinds(session: &Session, keys: &[known_hosts::KnownKey]) {
    if keys.is_empty() {
        return;
    }
    let mut kinds: Vec<&str> = Vec::new();
    for key in keys {
        match key.kind.as_str() {
            "ssh-rsa" => kinds.extend(["rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"]),
            kind => kinds.push(kind),
        }
    }
    // A kind that this libssh2 does not know leaves its own order in place.
    let _ = session.method_pref(MethodType::HostKey, &kinds.join(","));
}

fn kind_name(kind: ssh2::HostKeyType) -> &'static str {
    match kind {
        ssh2::HostKeyType::Rsa => "ssh-rsa",
        ssh2::HostKeyType::Dss => "ssh-dss",
        ssh2::HostKeyType::Ecdsa256 => "ecdsa-sha2-nistp256",
        ssh2::HostKeyType::Ecdsa384 => "ecdsa-sha2-nistp384",
        ssh2::HostKeyType::Ecdsa521 => "ecdsa-sha2-nistp521",
        ssh2::HostKeyType::Ed25519 => "ssh-ed25519",
        ssh2::HostKeyType::Unknown => "unknown",
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
