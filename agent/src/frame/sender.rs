//! What is sent: hashed, counted, and compressed where that is quicker on this link.

use super::{AGAIN, CHUNK, DATA, EVENT, MESSAGE, MOST, Message, PACKED, SUM, header};
use crate::error::{AgentError, Result};
use crate::pace::{How, Pace};
use std::io::Write;
use std::time::Instant;

/// Bytes in one frame while the link's pace is not known.
const PROBE: usize = 64 << 10;
/// What is smaller is not compressed: its header and the call cost as much.
const SMALL: usize = 4096;
/// zstd's quickest of the usual levels; the release build has no other.
const LEVEL: i32 = 1;

/// Sends frames.
pub(crate) struct Sender<W> {
    pub(super) to: W,
    hash: blake3::Hasher,
    bytes: u64,
    pub(super) pace: Pace,
    packer: Option<Packer>,
}

struct Packer {
    zstd: zstd_safe::CCtx<'static>,
    buffer: Vec<u8>,
}

impl<W: Write> Sender<W> {
    pub fn new(to: W) -> Self {
        Sender {
            to,
            hash: blake3::Hasher::new(),
            bytes: 0,
            pace: Pace::new(),
            packer: None,
        }
    }

    /// Bytes sent so far, before they were compressed.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self, kind: u8, parts: &[&[u8]]) -> Result<()> {
        let header = header(kind, parts)?;
        for part in [&header[..]].iter().chain(parts) {
            self.hash.update(part);
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, kind: u8, parts: &[&[u8]]) -> Result<()> {
        let header = header(kind, parts)?;
        for part in [&header[..]].iter().chain(parts) {
            self.to.write_all(part).map_err(AgentError::sending)?;
        }
        Ok(())
    }

    pub fn message(&mut self, message: &Message) -> Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(AgentError::stream)?;
        if bytes.len() > MOST {
            return Err(AgentError::stream("a file with too many attributes"));
        }
        self.count(MESSAGE, &[&bytes])?;
        self.write(MESSAGE, &[&bytes])
    }

    /// Bytes of a file, compressed where that is quicker; in small pieces until that is known.
    pub fn data(&mut self, id: u32, mut offset: u64, mut bytes: &[u8]) -> Result<()> {
        while !self.pace.is_known() && bytes.len() > PROBE {
            let (piece, rest) = bytes.split_at(PROBE);
            self.chunk(id, offset, piece)?;
            offset += PROBE as u64;
            bytes = rest;
        }
        self.chunk(id, offset, bytes)
    }

    fn chunk(&mut self, id: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        let (id, offset) = (id.to_le_bytes(), offset.to_le_bytes());
        let plain: [&[u8]; 3] = [&id, &offset, bytes];
        self.count(DATA, &plain)?;
        if bytes.len() < SMALL {
            return self.write(DATA, &plain);
        }
        if self.pace.next() == How::Plain {
            let begun = Instant::now();
            self.write(DATA, &plain)?;
            self.pace.plain(bytes.len(), begun.elapsed());
            return Ok(());
        }
        let begun = Instant::now();
        let mut packer = self.packer.take().map_or_else(Packer::new, Ok)?;
        let packed = packer.pack(bytes)?;
        let compressing = begun.elapsed();
        let begun = Instant::now();
        let length = u32::try_from(bytes.len()).map_err(AgentError::stream)?;
        // What does not shrink goes as it is.
        let sent = if packed.len() < bytes.len() {
            self.write(PACKED, &[&id, &offset, &length.to_le_bytes(), packed])?;
            packed.len()
        } else {
            self.write(DATA, &plain)?;
            bytes.len()
        };
        self.pace
            .packed(bytes.len(), sent, compressing, begun.elapsed());
        self.packer = Some(packer);
        Ok(())
    }

    /// Pages of a file that the receiver has: runs of those that were sent ahead, each its first and how many.
    pub fn again(&mut self, id: u32, offset: u64, runs: &[(u32, u32)]) -> Result<()> {
        let words = runs.iter().flat_map(|(begin, count)| [begin, count]);
        let bytes: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
        let parts: [&[u8]; 3] = [&id.to_le_bytes(), &offset.to_le_bytes(), &bytes];
        self.count(AGAIN, &parts)?;
        self.write(AGAIN, &parts)
    }

    /// Ends a pass: says so, and what everything so far must hash to.
    pub fn pass(&mut self, last: bool) -> Result<()> {
        self.message(&Message::Pass { last })?;
        let hash = *self.hash.clone().finalize().as_bytes();
        let bytes = self.bytes;
        self.write(SUM, &[&bytes.to_le_bytes(), &hash])?;
        self.flush()
    }

    pub fn event(&mut self, json: &[u8]) -> Result<()> {
        self.write(EVENT, &[json])?;
        self.flush()
    }

    pub fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(AgentError::sending)
    }
}

impl Packer {
    fn new() -> Result<Self> {
        let zstd = zstd_safe::CCtx::try_create()
            .ok_or_else(|| AgentError::Other("no memory for the compressor".into()))?;
        let buffer = vec![0; zstd_safe::compress_bound(CHUNK)];
        Ok(Packer { zstd, buffer })
    }

    fn pack(&mut self, bytes: &[u8]) -> Result<&[u8]> {
        let n = self
            .zstd
            .compress(&mut self.buffer[..], bytes, LEVEL)
            .map_err(|code| AgentError::Other(format!("zstd: error {code}")))?;
        Ok(&self.buffer[..n])
    }
}
