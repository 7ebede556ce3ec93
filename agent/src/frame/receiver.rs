//! What is received: unpacked, hashed and counted, and compared with what was sent.

use super::{AGAIN, CHUNK, DATA, EVENT, Frame, MESSAGE, PACKED, SUM, packed, read_frame, split};
use crate::error::{AgentError, Result};
use std::io::Read;

/// Receives frames.
pub(crate) struct Receiver<R> {
    from: R,
    hash: blake3::Hasher,
    bytes: u64,
    buffer: Vec<u8>,
    /// A frame of data as it was before it was compressed.
    unpacked: Vec<u8>,
    zstd: Option<zstd_safe::DCtx<'static>>,
}

impl<R: Read> Receiver<R> {
    pub fn new(from: R) -> Self {
        Receiver {
            from,
            hash: blake3::Hasher::new(),
            bytes: 0,
            buffer: Vec::new(),
            unpacked: Vec::new(),
            zstd: None,
        }
    }

    /// Bytes received so far, after they were unpacked.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next frame; a [`Frame::Sum`] is compared here. None at the end of the stream.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        let Some((mut kind, mut header)) = read_frame(&mut self.from, &mut self.buffer)? else {
            return Ok(None);
        };
        if kind == PACKED {
            self.unpack()?;
            std::mem::swap(&mut self.buffer, &mut self.unpacked);
            kind = DATA;
            header = super::header(DATA, &[&self.buffer])?;
        }
        if matches!(kind, MESSAGE | DATA | AGAIN) {
            self.hash.update(&header);
            self.hash.update(&self.buffer);
            self.bytes += (header.len() + self.buffer.len()) as u64;
        }
        let payload = &self.buffer;
        let frame = match kind {
            MESSAGE => Frame::Message(postcard::from_bytes(payload).map_err(AgentError::stream)?),
            DATA => {
                let (id, rest) = split(payload)?;
                let (offset, bytes) = split(rest)?;
                Frame::Data {
                    id: u32::from_le_bytes(id),
                    offset: u64::from_le_bytes(offset),
                    bytes,
                }
            }
            AGAIN => {
                let (id, rest) = split(payload)?;
                let (offset, rest) = split(rest)?;
                let (runs, _) = rest.as_chunks::<8>();
                let run = |run: &[u8; 8]| -> Result<(u32, u32)> {
                    let (begin, rest) = split(run)?;
                    let (count, _) = split(rest)?;
                    Ok((u32::from_le_bytes(begin), u32::from_le_bytes(count)))
                };
                Frame::Again {
                    id: u32::from_le_bytes(id),
                    offset: u64::from_le_bytes(offset),
                    runs: runs.iter().map(run).collect::<Result<_>>()?,
                }
            }
            SUM => {
                let (bytes, rest) = split(payload)?;
                let (hash, _) = split::<32>(rest)?;
                let bytes = u64::from_le_bytes(bytes);
                if bytes != self.bytes || blake3::Hash::from(hash) != self.hash.clone().finalize() {
                    return Err(AgentError::Altered {
                        sent: bytes,
                        received: self.bytes,
                    });
                }
                Frame::Sum
            }
            EVENT => Frame::Event,
            kind => return Err(AgentError::stream(format!("no frame is of kind {kind}"))),
        };
        Ok(Some(frame))
    }
}

impl<R> Receiver<R> {
    /// Unpacks the frame that was read.
    fn unpack(&mut self) -> Result<()> {
        let (place, length, packed) = packed(&self.buffer)?;
        if length > CHUNK {
            return Err(AgentError::stream(format!("a chunk of {length} bytes")));
        }
        let zstd = match &mut self.zstd {
            Some(zstd) => zstd,
            none => none.insert(
                zstd_safe::DCtx::try_create()
                    .ok_or_else(|| AgentError::Other("no memory to unpack".into()))?,
            ),
        };
        self.unpacked.resize(place.len() + length, 0);
        let (head, bytes) = self.unpacked.split_at_mut(place.len());
        head.copy_from_slice(&place);
        match zstd.decompress(bytes, packed) {
            Ok(n) if n == length => Ok(()),
            _ => Err(AgentError::stream("a chunk that cannot be unpacked")),
        }
    }
}
