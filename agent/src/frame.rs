//! The stream between the two hosts: frames, each a kind, a length and that many bytes.
//!
//! Everything that was sent is hashed on the one side and on the other; [`Frame::Sum`] says what it must
//! be, so no pipe, disk buffer or program between the two can change a byte unnoticed.

use crate::error::{AgentError, Result};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};

/// Largest payload: a chunk of a file with its header, or a message. What claims more is no frame.
const MOST: usize = (1 << 20) + 4096;
/// Bytes of a file in one frame.
pub(crate) const CHUNK: usize = 1 << 20;

const MESSAGE: u8 = 1;
const DATA: u8 = 2;
const SUM: u8 = 3;
const EVENT: u8 = 4;

/// Owner, mode, times and extended attributes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Mode with the bits of the file's type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds of the last change.
    pub mtime: (i64, u32),
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
}

impl<W: Write> Sender<W> {
    pub fn new(to: W) -> Self {
        Sender {
            to,
            hash: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    /// Bytes sent so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn frame(&mut self, kind: u8, parts: &[&[u8]], counted: bool) -> Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut header = [kind, 0, 0, 0, 0];
        let length = u32::try_from(length).map_err(|_| AgentError::stream("a frame too long"))?;
        header[1..].copy_from_slice(&length.to_le_bytes());
        for part in [&header[..]].iter().chain(parts) {
            if counted {
                self.hash.update(part);
                self.bytes += part.len() as u64;
            }
            self.to.write_all(part).map_err(AgentError::sending)?;
        }
        Ok(())
    }

    pub fn message(&mut self, message: &Message) -> Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(AgentError::stream)?;
        if bytes.len() > MOST {
            return Err(AgentError::stream("a file with too many attributes"));
        }
        self.frame(MESSAGE, &[&bytes], true)
    }

    pub fn data(&mut self, id: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        self.frame(
            DATA,
            &[&id.to_le_bytes(), &offset.to_le_bytes(), bytes],
            true,
        )
    }

    /// Ends a pass: says so, and what everything so far must hash to.
    pub fn pass(&mut self, last: bool) -> Result<()> {
        self.message(&Message::Pass { last })?;
        let hash = *self.hash.clone().finalize().as_bytes();
        let bytes = self.bytes;
        self.frame(SUM, &[&bytes.to_le_bytes(), &hash], false)?;
        self.flush()
    }

    pub fn event(&mut self, json: &[u8]) -> Result<()> {
        self.frame(EVENT, &[json], false)?;
        self.flush()
    }

    pub fn flush(&mut self) -> Result<()> {
        self.to.flush().map_err(AgentError::sending)
    }
}

/// Receives frames.
pub(crate) struct Receiver<R> {
    from: R,
    hash: blake3::Hasher,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Receiver<R> {
    pub fn new(from: R) -> Self {
        Receiver {
            from,
            hash: blake3::Hasher::new(),
            bytes: 0,
            buffer: Vec::new(),
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next frame; a [`Frame::Sum`] is compared here. None at the end of the stream.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        let Some((kind, header)) = read_frame(&mut self.from, &mut self.buffer)? else {
            return Ok(None);
        };
        if matches!(kind, MESSAGE | DATA) {
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
    /// So many bytes for the receiver.
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
    Ok(Some(Passing::Bytes((header.len() + buffer.len()) as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Vec<u8> {
        let mut sender = Sender::new(Vec::new());
        sender.message(&Message::Close { id: 7, size: 9 }).unwrap();
        sender.event(b"{}").unwrap();
        sender.data(7, 4, b"hello").unwrap();
        sender.pass(true).unwrap();
        sender.to
    }

    #[test]
    fn what_is_sent_is_received() {
        let stream = stream();
        let mut receiver = Receiver::new(&stream[..]);
        assert!(matches!(
            receiver.next().unwrap(),
            Some(Frame::Message(Message::Close { id: 7, size: 9 }))
        ));
        assert!(matches!(receiver.next().unwrap(), Some(Frame::Event)));
        assert!(matches!(
            receiver.next().unwrap(),
            Some(Frame::Data {
                id: 7,
                offset: 4,
                bytes: b"hello"
            })
        ));
        assert!(matches!(
            receiver.next().unwrap(),
            Some(Frame::Message(Message::Pass { last: true }))
        ));
        assert!(matches!(receiver.next().unwrap(), Some(Frame::Sum)));
        assert!(receiver.next().unwrap().is_none());
    }

    #[test]
    fn the_carrier_takes_events_out_and_the_sum_still_holds() {
        let stream = stream();
        let (mut from, mut to, mut buffer) = (&stream[..], Vec::new(), Vec::new());
        let mut events = 0;
        while let Some(passing) = carry(&mut from, &mut to, &mut buffer).unwrap() {
            events += u32::from(matches!(passing, Passing::Event(_)));
        }
        assert_eq!(events, 1);
        let mut receiver = Receiver::new(&to[..]);
        while receiver.next().unwrap().is_some() {}
        assert!(to.len() < stream.len());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = stream();
        let at = good.windows(2).position(|two| two == b"{}").unwrap();
        let event = at - 5..at + 2;
        for byte in 0..good.len() {
            let mut bad = good.clone();
            bad[byte] ^= 1;
            let mut receiver = Receiver::new(&bad[..]);
            let mut sums = 0;
            let broken = loop {
                match receiver.next() {
                    Err(_) => break true,
                    Ok(None) => break false,
                    Ok(Some(Frame::Sum)) => sums += 1,
                    Ok(Some(_)) => {}
                }
            };
            // An event is for the carrier alone; and where no sum came, nothing is complete.
            let in_event = event.contains(&byte);
            assert!(broken || sums == 0 || in_event, "byte {byte}");
        }
    }

    #[test]
    fn a_cut_stream_is_noticed() {
        let good = stream();
        let mut receiver = Receiver::new(&good[..good.len() - 3]);
        assert!(
            std::iter::from_fn(|| receiver.next().map(|frame| frame.map(drop)).transpose())
                .any(|next| next.is_err())
        );
    }
}
