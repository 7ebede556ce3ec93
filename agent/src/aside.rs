//! What the source's agent tells the one who steers, and hears of it, while frames go to the destination.

use crate::error::{AgentError, Result};
use crate::frame::Sender;
use crate::job::Event;
use crate::link::Wire;
use crate::watch::TICK;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What is done now and then while frames are sent; its error ends the sending.
pub(crate) type Tick<'t, W> = &'t mut dyn FnMut(&mut Sender<W>) -> Result<()>;

/// How often the destination gets a sign where nothing else is sent: a silent link counts as dead.
const SIGN: Duration = Duration::from_secs(5);

/// The words of whoever steers, heard while other things are done.
pub(crate) struct Control {
    words: Receiver<String>,
    over: Arc<AtomicBool>,
}

impl Control {
    /// Hears to the end, which is that of whoever steers.
    pub fn new(from: impl BufRead + Send + 'static) -> Self {
        let (say, words) = channel();
        let over = Arc::<AtomicBool>::default();
        let ended = Arc::clone(&over);
        std::thread::spawn(move || {
            for line in from.lines().map_while(std::result::Result::ok) {
                if say.send(line).is_err() {
                    break;
                }
            }
            ended.store(true, Relaxed);
        });
        Control { words, over }
    }

    /// One that says this and then nothing, but is there.
    #[cfg(test)]
    pub fn said(text: &str) -> Self {
        let (say, words) = channel();
        for word in text.lines() {
            say.send(word.to_owned()).unwrap();
        }
        let over = Arc::default();
        Control { words, over }
    }

    /// The next word; none when there comes no other.
    pub fn word(&self) -> Option<String> {
        self.words.recv().ok()
    }

    /// All words to come.
    pub fn into_words(self) -> impl Iterator<Item = String> + Send {
        self.words.into_iter()
    }

    /// Turns true at its end.
    pub fn over(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.over)
    }
}

/// Where events go: beside the frames, or between them.
pub(crate) struct Aside<'a, A> {
    beside: Option<(&'a mut Sender<A>, &'a Wire)>,
    /// Nobody steers any more.
    over: Arc<AtomicBool>,
    /// Bytes that there are to send before the freeze, as far as is known; 0 until then.
    total: Arc<AtomicU64>,
    told: Instant,
    signed: Instant,
}

impl<'a, A: Write> Aside<'a, A> {
    pub fn new(
        beside: Option<(&'a mut Sender<A>, &'a Wire)>,
        over: Arc<AtomicBool>,
        total: Arc<AtomicU64>,
    ) -> Self {
        let now = Instant::now();
        Aside {
            beside,
            over,
            total,
            told: now,
            signed: now,
        }
    }

    pub fn tell<W: Write>(&mut self, to: &mut Sender<W>, event: &Event) -> Result<()> {
        match &mut self.beside {
            Some((beside, _)) => tell(beside, event),
            None => tell(to, event),
        }
    }

    /// Tells, now and then, that it is at work. An error where nobody wants it any more.
    pub fn tick<W: Write>(&mut self, to: &mut Sender<W>) -> Result<()> {
        if self.told.elapsed() < TICK {
            return Ok(());
        }
        self.told = Instant::now();
        if self.over.load(Relaxed) {
            return Err(AgentError::Ended);
        }
        if self.beside.is_some() && self.signed.elapsed() >= SIGN {
            self.signed = Instant::now();
            to.event(&[])?;
        }
        let event = Event::Moving {
            bytes: to.bytes(),
            total: match self.total.load(Relaxed) {
                0 => None,
                total => Some(total),
            },
        };
        self.tell(to, &event)
    }

    /// Tells that a pass was sent, and how long the dump took that was in it.
    pub fn sent<W: Write>(&mut self, to: &mut Sender<W>, dump: Option<Duration>) -> Result<()> {
        let (bytes, wire) = (to.bytes(), self.wire());
        // What comes next is another matter.
        self.total.store(0, Relaxed);
        let sent = Event::Sent {
            bytes,
            wire,
            dump_seconds: dump.map(|took| took.as_secs_f64()),
        };
        self.tell(to, &sent)
    }

    /// From the freeze on the link is given up sooner.
    pub fn hasten(&self, limit: Duration) -> Result<()> {
        self.beside
            .as_ref()
            .map_or(Ok(()), |(_, wire)| wire.hasten(limit))
    }

    /// Bytes sent and received on the direct link, if there is one.
    pub fn wire(&self) -> Option<(u64, u64)> {
        self.beside.as_ref().map(|(_, wire)| wire.bytes())
    }
}

pub(crate) fn tell<W: Write>(to: &mut Sender<W>, event: &Event) -> Result<()> {
    to.event(&serde_json::to_vec(event).map_err(AgentError::stream)?)
}
