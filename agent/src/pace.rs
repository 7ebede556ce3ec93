//! Whether to compress what is sent: measured, chunk by chunk, on the link and the data at hand.
//!
//! Sent as it is, a byte costs the time that the link takes for it. Compressed, it costs the compressor's
//! time and the link's for what is left of it. Whichever is less is done, and looked at again now and then:
//! links fill and empty, and one part of a memory is text while the next is noise.

use std::time::Duration;

/// Bytes over which the link is measured: single chunks vanish in the kernel's buffers.
const WINDOW: u64 = 4 << 20;
/// After so many seconds it is known without that many: a slow link would take minutes for them.
const PATIENCE: f64 = 0.5;
/// How many times as long as a trial of the compressor took nothing is tried again: trials take a
/// thirty-second of the time at most.
const SPARING: f64 = 32.0;
/// What compression must win to be worth a change.
const WORTH: f64 = 0.9;
/// Below this share of the time spent on the link, it stands idle between chunks, and how quick it is now is
/// not known.
const IDLE: f64 = 0.25;
/// Windows until an idle link is measured anew; twice as many each time, up to the second number.
const AGAIN: (u32, u32) = (4, 64);

/// Seconds for a byte on a link to which nothing is won: above a gigabit a second a host's processors are what is
/// short, and the compressor would take them from CRIU.
const QUICK: f64 = 1.0 / 150e6;

/// So many bytes are compressed before anything is known: the kernel's buffers take them at once, so their writing
/// says nothing of the link, and on the slowest ones they are all the time that a small container takes.
const EARLY: usize = 1 << 20;

/// How a chunk is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Plain,
    Packed,
}

/// What was measured so far.
#[derive(Debug)]
pub(crate) struct Pace {
    packing: bool,
    /// Bytes that are still to be compressed whatever the link.
    early: usize,
    window: Window,
    /// Seconds for a byte sent as it is, when this was last measured.
    plain: Option<f64>,
    /// Seconds until the compressor is tried again.
    rest: f64,
    /// Windows since the plain link was measured, and after how many this is done again.
    age: u32,
    again: u32,
}

/// Sums over some chunks.
#[derive(Debug, Default)]
struct Window {
    bytes: f64,
    packed: f64,
    compressing: f64,
    writing: f64,
}

impl Window {
    fn is_full(&self) -> bool {
        self.bytes >= WINDOW as f64 || self.compressing + self.writing >= PATIENCE
    }
}

impl Pace {
    pub fn new() -> Self {
        Pace {
            packing: false,
            early: EARLY,
            window: Window::default(),
            plain: None,
            rest: 0.0,
            age: 0,
            again: AGAIN.0,
        }
    }

    /// One that has seen a link so slow that all is compressed.
    #[cfg(test)]
    pub fn slow() -> Self {
        Pace {
            packing: true,
            plain: Some(1.0),
            ..Pace::new()
        }
    }

    /// Whether the link was measured at all.
    pub fn is_known(&self) -> bool {
        self.packing || self.plain.is_some()
    }

    /// How to send the next chunk.
    pub fn next(&self) -> How {
        let slow = self.plain.is_some_and(|plain| plain > QUICK);
        if self.early > 0 || self.packing || (slow && self.rest <= 0.0) {
            How::Packed
        } else {
            How::Plain
        }
    }

    /// So many bytes were sent as they are.
    pub fn plain(&mut self, bytes: usize, writing: Duration) {
        self.rest -= writing.as_secs_f64();
        self.window.bytes += bytes as f64;
        self.window.writing += writing.as_secs_f64();
        if self.window.is_full() {
            self.plain = Some(self.window.writing / self.window.bytes);
            self.window = Window::default();
        }
    }

    /// So many bytes were sent as so many.
    pub fn packed(
        &mut self,
        bytes: usize,
        packed: usize,
        compressing: Duration,
        writing: Duration,
    ) {
        let early = self.early > 0;
        self.early = self.early.saturating_sub(bytes);
        let (bytes, packed) = (bytes as f64, packed as f64);
        let (compressing, writing) = (compressing.as_secs_f64(), writing.as_secs_f64());
        if early && !self.packing {
            self.window.packed += packed;
            self.window.writing += writing;
            if self.window.writing >= PATIENCE {
                self.plain = Some(self.window.writing / self.window.packed);
                (self.packing, self.early) = (true, 0);
            }
            if self.early == 0 {
                self.window = Window::default();
            }
            return;
        }
        if !self.packing {
            let Some(plain) = self.plain else { return };
            self.rest = compressing * SPARING;
            // The link's time is not what was measured here: the kernel's buffers may have taken this one.
            let expected = compressing / bytes + packed / bytes * plain;
            self.packing = expected < plain * WORTH;
            if self.packing {
                self.window = Window::default();
            }
            return;
        }
        let window = &mut self.window;
        window.bytes += bytes;
        window.packed += packed;
        window.compressing += compressing;
        window.writing += writing;
        if window.is_full() {
            let window = std::mem::take(window);
            self.judge(&window);
        }
    }

    /// A window was sent compressed: is that still right?
    fn judge(&mut self, window: &Window) {
        let took = window.compressing + window.writing;
        let idle = window.writing < took * IDLE;
        if idle {
            self.age += 1;
        } else {
            // All the time was the link's, so what it takes for a byte is known.
            self.plain = Some(took / window.packed);
            (self.age, self.again) = (0, AGAIN.0);
        }
        let plain = self.plain.unwrap_or(f64::MAX);
        if took / window.bytes >= plain * WORTH {
            self.packing = false;
            self.rest = window.compressing / window.bytes * (1 << 20) as f64 * SPARING;
        } else if self.age >= self.again {
            // Measured anew, and then the compressor is tried at once.
            self.packing = false;
            self.rest = 0.0;
            self.plain = None;
            (self.age, self.again) = (0, (self.again * 2).min(AGAIN.1));
        }
    }
}

#[cfg(test)]
mod tests;
