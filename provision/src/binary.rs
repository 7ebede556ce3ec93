//! This program, as it is to be on hosts.

use crate::change::{install, link};
use host::Cmd;
use sha2::{Digest, Sha256};

/// Where people find it.
pub(crate) const PROGRAM: &str = "/usr/local/bin/transship";
/// A folder for each version of it, called by its hash: a migration finds its own, whatever else is there.
pub(crate) const VERSIONS: &str = "/usr/local/lib/transship";

/// This program, to be installed on hosts.
#[derive(Clone, PartialEq, Eq)]
pub struct Binary {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its SHA-256, in hexadecimal digits.
    pub hash: String,
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn hash(bytes: impl AsRef<[u8]>) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Binary {
    /// The program in these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Binary {
        let hash = hash(&bytes);
        Binary { bytes, hash }
    }

    /// The program that runs now.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub fn own() -> std::io::Result<Binary> {
        // Through /proc: the file may have been replaced since we were started.
        std::fs::read("/proc/self/exe").map(Binary::new)
    }

    /// The name of its folder on hosts.
    #[must_use]
    pub(crate) fn version(&self) -> &str {
        &self.hash[..16]
    }

    /// Its path on hosts.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{VERSIONS}/{}/transship", self.version())
    }

    /// Puts it there, once it is proven to start; exit status [`Binary::DOES_NOT_START`] where it does not.
    #[must_use]
    pub fn install(&self) -> Cmd {
        install(&self.path(), &self.bytes)
    }

    /// Exit status of [`Binary::install`] on a host where this build does not start.
    pub const DOES_NOT_START: i32 = 3;

    /// Makes it the runtime that engines call.
    #[must_use]
    pub fn link_runtime(&self) -> Cmd {
        link(&self.path(), &[runtime::PATH])
    }
}
