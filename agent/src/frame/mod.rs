//! The stream between the two hosts: frames, each a kind, a length and that many bytes.
//!
//! Everything that was sent is hashed on the one side and on the other; [`Frame::Sum`] says what it must
//! be, so no pipe, disk buffer or program between the two can change a byte unnoticed. What is hashed, and
//! counted, are frames as they are before they are compressed and after they were unpacked.

mod passing;
mod receiver;
mod sender;

use crate::error::{AgentError, Result};
use serde::{Deserialize, Serialize};
use std::io::Read;

pub use passing::{Passing, carry};
pub(crate) use receiver::Receiver;
pub(crate) use sender::Sender;

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

/// What a frame begins with.
fn header(kind: u8, parts: &[&[u8]]) -> Result<[u8; 5]> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).map_err(|_| AgentError::stream("a frame too long"))?;
    let mut header = [kind, 0, 0, 0, 0];
    header[1..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
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

#[cfg(test)]
mod tests;
