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
    /// How each volume stands.
    pub volumes: BTreeMap<String, Volume>,
    /// Ports that containers publish, whether or not a program of the host listens for them.
    pub published: Vec<Published>,
    /// Sockets of the host itself.
    pub sockets: Vec<Socket>,
}

/// Ports that a container publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// The container.
    pub container: String,
    /// Address of the host that they are published at.
    pub address: String,
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
    /// Whether they are of UDP.
    pub udp: bool,
}

/// A volume of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Volume {
    /// There is none.
    Missing,
    /// It is there, and its container moved away: what it holds is old.
    Moved,
    /// It is there, and somebody's.
    There,
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
            published: transcript
                .text("published")
                .lines()
                .flat_map(published)
                .collect(),
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
                    let moved = transcript.good(&format!("moved.{}", index + 1));
                    let volume = match (good, moved) {
                        (false, _) => Volume::Missing,
                        (true, true) => Volume::Moved,
                        (true, false) => Volume::There,
                    };
                    answers.volumes.insert(what, volume);
                }
            }
        }
        answers
    }

    /// Who has a port of an address already; the empty address means every one.
    #[must_use]
    pub fn user_of(&self, address: &str, port: u16, udp: bool) -> Option<String> {
        let published = self.published.iter().find(|published| {
            published.udp == udp
                && (published.first..=published.last).contains(&port)
                && meet(&published.address, address)
        });
        if let Some(published) = published {
            return Some(format!("container {} publishes it", published.container));
        }
        let listens = self.sockets.iter().any(|socket| {
            socket.port == port
                && meet(&socket.local, address)
                && if udp {
                    socket.family == Family::Udp
                } else {
                    socket.listens()
                }
        });
        listens.then(|| "a program listens at it".to_owned())
    }
}

/// Whether two addresses to listen at are in each other's way. One that means all of a family is taken for all of both,
/// since what listens at `::` mostly has IPv4's ports too.
fn meet(one: &str, other: &str) -> bool {
    let all = |address: &str| matches!(address, "" | "*" | "0.0.0.0" | "::");
    all(one) || all(other) || one == other
}

/// Reads a line of `ps`: `NAME 0.0.0.0:8000-8010->8000-8010/tcp, [::]:53->53/udp, 80/tcp`.
fn published(line: &str) -> Vec<Published> {
    let (container, ports) = line.split_once(' ').unwrap_or_default();
    let read = |item: &str| {
        let (outer, inner) = item.trim().split_once("->")?;
        let (address, ports) = outer.rsplit_once(':')?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some(Published {
            container: container.to_owned(),
            address: address.trim_matches(['[', ']']).to_owned(),
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            udp: inner.ends_with("/udp"),
        })
    };
    ports.split(',').filter_map(read).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(ps: &str, tcp: &str) -> Destination {
        Destination::parse(
            &format!(
                "@@transship destination 1 @@m\n@@m begin published\n{ps}\n@@m end published 0\n\
                 @@m begin net.tcp\nsl\n{tcp}\n@@m end net.tcp 0\n"
            ),
            &Place::default(),
        )
    }

    #[test]
    fn a_port_is_taken_by_who_listens_and_by_who_publishes_without_listening() {
        let ps = "web 0.0.0.0:8000-8010->80-90/tcp, [::]:8000-8010->80-90/tcp, 443/tcp\ndns 10.0.0.1:53->53/udp, :::54->54/udp";
        let there = host(ps, "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 9 1 x");
        let user = |address, port, udp| there.user_of(address, port, udp);
        assert_eq!(user("", 8005, false).unwrap(), "container web publishes it");
        assert_eq!(user("", 8005, true), None);
        assert_eq!(user("", 8011, false), None);
        assert_eq!(
            user("10.0.0.1", 53, true).unwrap(),
            "container dns publishes it"
        );
        assert_eq!(user("10.0.0.2", 53, true), None);
        assert_eq!(
            user("10.0.0.2", 54, true).unwrap(),
            "container dns publishes it"
        );
        assert_eq!(
            user("0.0.0.0", 8080, false).unwrap(),
            "a program listens at it"
        );
        assert_eq!(user("10.0.0.1", 8080, false), None);
    }
}
