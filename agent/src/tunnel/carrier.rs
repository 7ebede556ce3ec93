//! One connection that carries the stream, and its frames: a kind, a length, and what is said.

use crate::link::Duplex;
use rustls::Connection;
use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

/// First on a connection: how much of theirs has come, counted from the start.
pub(super) const HELLO: u8 = 1;
/// The same, now and then.
pub(super) const ACK: u8 = 2;
/// Bytes of the stream.
pub(super) const DATA: u8 = 3;
/// The process there has ended well.
pub(super) const END: u8 = 4;
/// Why it is lost.
pub(super) const LOST: u8 = 5;
/// The container goes on at the destination.
pub(super) const GOES: u8 = 6;

/// A connection and what is known of it.
pub(super) struct Carrier {
    pub tls: Connection,
    pub sock: Box<dyn Duplex>,
    buffer: Vec<u8>,
    /// They said how far they are.
    pub greeted: bool,
    pub end_told: bool,
    pub heard: Instant,
    pub beat: Instant,
}

/// Whether a connection may bring more.
pub(super) enum Open {
    More,
    Later,
    Ended,
}

impl Carrier {
    pub fn new(mut tls: Connection, sock: Box<dyn Duplex>) -> Self {
        tls.set_buffer_limit(None);
        let mut carrier = Carrier {
            tls,
            sock,
            buffer: Vec::new(),
            greeted: false,
            end_told: false,
            heard: Instant::now(),
            beat: Instant::now(),
        };
        // Their first words may have come, and been decrypted, together with what was read before: no byte on the
        // network would tell of them. Where they are no good, reading finds out.
        let _ = carrier.take_in();
        carrier
    }

    pub fn frame(&mut self, kind: u8, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut writer = self.tls.writer();
        // Into a buffer without limit.
        let _ = writer.write_all(&[kind]);
        let _ = writer.write_all(&length.to_le_bytes());
        let _ = writer.write_all(payload);
    }

    pub fn write(&mut self) -> std::io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has come into the buffer.
    pub fn read(&mut self) -> std::io::Result<Open> {
        match self.tls.read_tls(&mut self.sock) {
            Ok(0) => return Ok(Open::Ended),
            Ok(_) => self.heard = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Open::Later),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Open::More),
            Err(error) => return Err(error),
        }
        self.take_in()?;
        Ok(Open::More)
    }

    /// Takes what was decrypted into the buffer.
    fn take_in(&mut self) -> std::io::Result<()> {
        let state = self
            .tls
            .process_new_packets()
            .map_err(std::io::Error::other)?;
        let have = self.buffer.len();
        self.buffer
            .resize(have + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.buffer[have..])
    }

    /// Takes a whole frame out of the buffer.
    pub fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let (header, rest) = self.buffer.split_first_chunk::<5>()?;
        let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let payload = rest.get(..length)?.to_vec();
        let kind = header[0];
        self.buffer.drain(..5 + length);
        Some((kind, payload))
    }
}
