//! How the receiving side and the source find each other, and how long they stay together.

use crate::destination::tell;
use crate::error::{AgentError, Result};
use crate::job::{DIRECT, Event, THROUGH, Token};
use crate::lanes::Joined;
use crate::link::{Duplex, Incoming, Listener};
use crate::source::listen;
use crate::tunnel::Shared;
use host::{Cmd, Host, Local};
use std::io::{BufRead, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// How often is looked whether somebody came again.
const KNOCK: Duration = Duration::from_millis(2);

/// Opens a port for the source, and hears from the one who steers whether it came: its connection; none where its
/// frames come through `from`. Those that it makes later, for pages, go to `offer`.
pub(crate) fn source(
    token: &Token,
    from: &mut impl BufRead,
    control: &mut (dyn Write + Send),
    offer: Option<Sender<Incoming>>,
) -> Result<Option<Joined<Incoming>>> {
    let listener = Listener::open();
    let link = match &listener {
        Ok(listener) => Some(listener.link(addresses())?),
        Err(_) => None,
    };
    tell(control, &Event::Listening { link })?;
    // The source says that it is connected once we have greeted it.
    let token = token.clone();
    let accepted = std::thread::spawn(move || {
        let listener = listener?;
        let first = listener.accept_lanes(&token)?;
        if let Some(offer) = offer {
            std::thread::spawn(move || come_again(&listener, &token.of_pages(), &offer));
        }
        Ok::<_, AgentError>(first)
    });
    let mut word = String::new();
    from.read_line(&mut word).map_err(AgentError::receiving)?;
    match word.trim() {
        THROUGH => Ok(None),
        DIRECT => accepted
            .join()
            .map_err(|_| AgentError::Other("the thread that listens ended".into()))?
            .map(Some),
        _ => Err(AgentError::Ended),
    }
}

/// Whoever steers holds our standard input open; when it is gone, so is the migration and its connection, unless
/// the container has gone on here.
pub(crate) fn while_steered(
    stream: &Joined<Incoming>,
    from: impl BufRead + Send + 'static,
    shared: Arc<Shared>,
) -> Result<()> {
    let connections = connections(stream)?;
    std::thread::spawn(move || {
        listen(from.lines().map_while(std::result::Result::ok), &shared);
        for tcp in connections {
            let _ = tcp.shutdown(std::net::Shutdown::Both);
        }
    });
    Ok(())
}

/// The connections of a stream.
pub(crate) fn connections(stream: &Joined<Incoming>) -> Result<Vec<TcpStream>> {
    let lanes = stream.lanes().iter();
    lanes
        .map(|lane| lane.sock.tcp().try_clone())
        .collect::<std::io::Result<_>>()
        .map_err(AgentError::receiving)
}

/// Takes connections for pages as long as somebody wants them.
fn come_again(listener: &Listener, token: &Token, offer: &Sender<Incoming>) {
    let mut reception = listener.receive();
    loop {
        match reception.next(token) {
            Ok(Some(stream)) => {
                if offer.send(stream).is_err() {
                    return;
                }
            }
            // Strangers do not matter.
            Ok(None) | Err(_) => std::thread::sleep(KNOCK),
        }
    }
}

/// The addresses at which this host may be reached: first the one that SSH came to.
fn addresses() -> Vec<IpAddr> {
    let mut list: Vec<IpAddr> = std::env::var("SSH_CONNECTION")
        .ok()
        .and_then(|four| four.split(' ').nth(2)?.parse().ok())
        .into_iter()
        .collect();
    let all = Local
        .text(&Cmd::reads("hostname").arg("-I"))
        .unwrap_or_default();
    for address in all.split_whitespace().filter_map(|text| text.parse().ok()) {
        if !list.contains(&address) {
            list.push(address);
        }
    }
    list
}
