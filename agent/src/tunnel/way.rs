//! How a side comes to a connection.

use super::carrier::Carrier;
use crate::job::{Link, Token};
use crate::link::{self, Incoming, Wire};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Pause between two tries to connect.
pub(super) const AGAIN: Duration = Duration::from_millis(250);

/// How a side comes to a connection.
pub(crate) enum Way {
    /// It connects, again and again.
    Connect {
        link: Link,
        token: Token,
        wire: Arc<Wire>,
    },
    /// It is given those that were accepted.
    Accept(Receiver<Incoming>),
}

impl Way {
    /// A new connection, if there is one to be had.
    pub(super) fn next(&self, has: bool, tried: &mut Instant) -> Option<Carrier> {
        match self {
            Way::Accept(from) => from.try_recv().ok().map(|stream| {
                let (tls, sock) = stream.into_parts();
                Carrier::new(tls.into(), Box::new(sock))
            }),
            Way::Connect { link, token, wire } => {
                if has || tried.elapsed() < AGAIN {
                    return None;
                }
                let stream = link::connect_counted(link, token, Arc::clone(wire)).ok();
                *tried = Instant::now();
                let (tls, sock) = stream?.into_parts();
                Some(Carrier::new(tls.into(), Box::new(sock)))
            }
        }
    }
}
