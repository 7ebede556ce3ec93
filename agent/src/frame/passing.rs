//! What passes by whoever carries the stream.

use super::{EVENT, PACKED, packed, read_frame};
use crate::error::{AgentError, Result};
use std::io::{Read, Write};

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
