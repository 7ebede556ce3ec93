//! What stands at the place where a container is to go.

use super::socket::{self, Family, Socket};
use crate::facts::transcript::Transcript;
use crate::{Cmd, Host, Result};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const PROBE: &str = include_str!("../destination.sh");

/// What is asked of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// `docker` or `podman`.
    pub engine: String,
    /// The container's name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Files and folders of the host.
    pub paths: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
    /// Volumes.
    pub volumes: Vec<String>,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Destination {
    /// Whether the engine is there.
    pub engine: bool,
    /// Whether a container of this name is there.
    pub name_taken: bool,
    /// Id of the image, where it is there.
    pub image: Option<String>,
    /// For each path its size and kind (`directory`, `regular file`); `None` where it is missing.
    pub paths: BTreeMap<String, Option<(u64, String)>>,
    /// For each network the engine's description; `None` where it is missing.
    pub networks: BTreeMap<String, Option<Value>>,
    /// Whether each volume is there.
    pub volumes: BTreeMap<String, bool>,
    /// Sockets of the host itself.
    pub sockets: Vec<Socket>,
}

impl Destination {
    /// Asks a host.
    ///
    /// # Errors
    /// Where the host cannot run a shell script.
    pub fn gather(host: &dyn Host, place: &Place) -> Result<Destination> {
        let cmd = Cmd::reads("sh")
            .args(["-s", "transship-destination"])
            .args([&place.engine, &place.name, &place.image].map(String::as_str))
            .args(place.words())
            .stdin(PROBE.as_bytes())
            .timeout(Duration::from_secs(60));
        let transcript = crate::facts::transcript_of(host, &cmd)?;
        Ok(Destination::build(&transcript, place))
    }

    /// The answers from the text of a probe.
    #[must_use]
    pub fn parse(text: &str, place: &Place) -> Destination {
        Destination::build(&Transcript::parse(text), place)
    }

    fn build(transcript: &Transcript, place: &Place) -> Destination {
        let id = transcript.text("image").trim();
        let mut answers = Destination {
            engine: transcript.good("engine"),
            name_taken: transcript.good("name"),
            image: transcript.good("image").then(|| id.to_owned()),
            paths: BTreeMap::new(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            sockets: socket::parse(transcript),
        };
        for (index, word) in place.words().iter().enumerate() {
            let Some((kind, what)) = word.split_once(':') else {
                continue;
            };
            let section = format!("{kind}.{}", index + 1);
            let text = transcript.text(&section).trim();
            let good = transcript.good(&section);
            let what = what.to_owned();
            match kind {
                "path" => {
                    let read = || {
                        let (size, kind) = text.split_once('|')?;
                        Some((size.parse().ok()?, kind.to_owned()))
                    };
                    answers.paths.insert(what, read().filter(|_| good));
                }
                "network" => {
                    let read = || match serde_json::from_str(text).ok()? {
                        Value::Array(list) => list.into_iter().next(),
                        other => Some(other),
                    };
                    answers.networks.insert(what, read().filter(|_| good));
                }
                _ => {
                    answers.volumes.insert(what, good);
                }
            }
        }
        answers
    }

    /// Whether something on the host listens at a port, whatever the address.
    #[must_use]
    pub fn listens(&self, port: u16, udp: bool) -> bool {
        self.sockets.iter().any(|socket| {
            socket.port == port
                && if udp {
                    socket.family == Family::Udp
                } else {
                    socket.listens()
                }
        })
    }
}

impl Place {
    fn words(&self) -> Vec<String> {
        let list = |kind: &str, items: &[String]| {
            let words: Vec<String> = items.iter().map(|item| format!("{kind}:{item}")).collect();
            words
        };
        let mut words = list("path", &self.paths);
        words.extend(list("network", &self.networks));
        words.extend(list("volume", &self.volumes));
        words
    }
}
