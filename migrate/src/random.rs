//! Chance, from the kernel.

use crate::Failure;
use std::io::Read as _;

/// Bytes that nobody can guess.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Failure::failed("local", format!("/dev/urandom: {error}")))?;
    Ok(bytes)
}
