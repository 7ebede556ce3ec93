//! The stream between the two hosts: frames, each a kind, a length and that many bytes.
//!
//! Everything that was sent is hashed on the one side and on the other; [`Frame::Sum`] says what it must
//! be, so no pipe, disk buffer or program between the two can change a byte unnoticed. What is hashed, and
//! counted, are frames as they are before they are compressed and after they were unpacked.

use crate::error::{AgentError, Result};
use crate::pace::{How, Pace};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::time::Instant;

/// Largest payload: a chunk of a file with its header, or a message. What claims more is no frame.
const MOST: usize = (1 << 20) + 4096;
/// Bytes of a file in one frame.
pub(crate) const CHUNK: usize = 1 << 20;

const MESSAGE: u8 = 1;
const DATA: u8 = 2;
const SUM: u8 = 3;
const EVENT: u8 = 4;
/// A frame of data whose bytes are compressed: file, offset, how many they are, and zstd's frame.
const PACKED: u8 = 5;
/// Pages that the receiver has from before: file, offset, and for each run of them its first and how many.
const AGAIN: u8 = 6;

/// Bytes in one frame while the link's pace is not known.
const PROBE: usize = 64 << 10;
/// What is smaller is not compressed: its header and the call cost as much.
const SMALL: usize = 4096;
/// zstd's quickest of the usual levels; the release build has no other.
const LEVEL: i32 = 1;

/// Owner, mode, times and extended attributes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Mode with the bits of the file's type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds of the last change.
    pub mtime: (i64, u32),
    /// The same of the last time that it was read.
    pub atime: (i64, u32),
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What sort of file an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    Folder,
    /// Its bytes follow in [`Frame::Data`] with this number, until [`Message::Close`].
    File(u32),
    Symlink(Vec<u8>),
    /// Device, fifo or socket, with the device's number.
    Node(u64),
    /// Another name of a file that was sent before.
    Hard(Vec<u8>),
}

/// What the sender tells the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    /// A file of a tree; the path is relative to its root.
    Entry {
        tree: u8,
        path: Vec<u8>,
        meta: Meta,
        what: What,
    },
    /// A file's bytes are complete; it is this long.
    Close { id: u32, size: u64 },
    /// A path that was sent in an earlier pass is there no more.
    Gone { tree: u8, path: Vec<u8> },
    /// What the container printed: the engine's own lines.
    Log(Vec<u8>),
    /// All of a pass was sent.
    Pass { last: bool },
    /// The memory of one more round follows, as a pass of its own.
    Round(u32),
    /// No round follows any more.
    Enough,
}

/// One frame.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    Message(Message),
    Data {
        id: u32,
        offset: u64,
        bytes: &'a [u8],
    },
    /// Pages of a file that were sent ahead: runs of them, each its first and how many.
    Again {
        id: u32,
        offset: u64,
        runs: Vec<(u32, u32)>,
    },
    /// All frames so far arrived as they were sent.
    Sum,
    /// For the one who steers the migration, not for the receiver; neither hashed nor counted.
    Event,
}

/// Sends frames.
pub(crate) struct Sender<W> {
    to: W,
    hash: blake3::Hasher,
    bytes: u64,
    pace: Pace,
    packer: Option<Packer>,
}

struct Packer {
    zstd: zstd_safe::CCtx<'static>,
    buffer: Vec<u8>,
}

/// What a frame begins with.
fn header(kind: u8, parts: &[&[u8]]) -> Result<[u8; 5]> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).map_err(|_| AgentError::stream("a frame too long"))?;
    let mut header = [kind, 0, 0, 0, 0];
    header[1..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
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
            header = self::header(DATA, &[&self.buffer])?;
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

/// A packed frame's file and offset, how many bytes it stands for, and what they were packed to.
fn packed(payload: &[u8]) -> Result<([u8; 12], usize, &[u8])> {
    let (place, rest) = split::<12>(payload)?;
    let (length, packed) = split(rest)?;
    Ok((place, u32::from_le_bytes(length) as usize, packed))
}

fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8])> {
    bytes
        .split_first_chunk::<N>()
        .map(|(head, rest)| (*head, rest))
        .ok_or_else(|| AgentError::stream("a frame too short"))
}

/// Reads one frame's header, and its payload into `buffer`.
fn read_frame(from: &mut impl Read, buffer: &mut Vec<u8>) -> Result<Option<(u8, [u8; 5])>> {
    let mut header = [0; 5];
    let mut have = 0;
    while have < header.len() {
        match from.read(&mut header[have..]) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(AgentError::stream("it ended within a frame")),
            Ok(n) => have += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(AgentError::receiving(error)),
        }
    }
    let (_, length) = split::<1>(&header)?;
    let (length, _) = split(length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST {
        return Err(AgentError::stream(format!("a frame of {length} bytes")));
    }
    buffer.resize(length, 0);
    from.read_exact(buffer).map_err(AgentError::receiving)?;
    Ok(Some((header[0], header)))
}

/// What passes by whoever carries the stream from the sender to the receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passing {
    /// An event of the sender: JSON. It is for the carrier.
    Event(Vec<u8>),
    /// So many bytes for the receiver, counted as they are when unpacked.
    Bytes(u64),
}

/// Carries one frame from the sender to the receiver; none at the end of the stream.
///
/// # Errors
/// Either side is lost, or what came is no frame.
pub fn carry(
    from: &mut impl Read,
    to: &mut impl Write,
    buffer: &mut Vec<u8>,
) -> Result<Option<Passing>> {
    let Some((kind, header)) = read_frame(from, buffer)? else {
        return Ok(None);
    };
    if kind == EVENT {
        return Ok(Some(Passing::Event(std::mem::take(buffer))));
    }
    to.write_all(&header).map_err(AgentError::sending)?;
    to.write_all(buffer).map_err(AgentError::sending)?;
    let payload = match kind {
        PACKED => {
            let (place, length, _) = packed(buffer)?;
            place.len() + length
        }
        _ => buffer.len(),
    };
    Ok(Some(Passing::Bytes((header.len() + payload) as u64)))
}

#[cfg(test)]
mod tests;
