//! What others may learn of the stream and say to it.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// What others may learn and say while it runs.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Bytes that came from the other side.
    pub received: AtomicU64,
    /// Set to end it now.
    pub stop: AtomicBool,
    /// This side: the container goes on at the destination from now on. Other side: it said so.
    pub goes: AtomicBool,
    /// There is no connection at the moment.
    pub cut: AtomicBool,
    /// The destination's daemon has all pages, and ended well; the source may not know it yet.
    pub done: AtomicBool,
    /// They will not come any more.
    pub lost: AtomicBool,
}
