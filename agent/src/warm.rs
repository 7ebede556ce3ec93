//! Memory that the kernel will need while the container stands still, brought in before.
//!
//! A dump that leaves the pages where they are keeps them in pipes of 1024 pages each (CRIU, `page-pipe.c`). The kernel
//! makes a table of 64 KiB for each, which is 64 MiB for 4 GiB of memory. Where the host is a virtual machine that has
//! not used so much for a while, its own host has to find it first: of 0.4 s that such a dump took, that was 0.12.

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::os::fd::OwnedFd;

/// Bytes of memory that CRIU keeps in one pipe, and the size that it gives it (`page-pipe.c`, `PIPE_MAX_SIZE`). It does
/// not notice where it could not.
pub const PIPE: u64 = 4 << 20;
/// Descriptors that are left for all else.
const OTHERS: u64 = 256;

/// Tables of pipes; when they are let go of, the kernel has room for CRIU's.
pub(crate) struct PipeTables {
    pipes: Vec<OwnedFd>,
    limit: Rlimit,
}

impl PipeTables {
    /// As many as CRIU needs for so much memory, or as there can be: with fewer it takes a little longer.
    pub fn of(memory: u64) -> Self {
        let limit = getrlimit(Resource::Nofile);
        let most = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let _ = setrlimit(Resource::Nofile, most);
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let wanted = (memory / PIPE).min(most.saturating_sub(OTHERS));
        // One end is enough to keep it.
        let pipes = (0..wanted).map_while(|_| {
            let (end, _) = pipe_with(PipeFlags::CLOEXEC).ok()?;
            fcntl_setpipe_size(&end, PIPE as usize).ok()?;
            Some(end)
        });
        let pipes = pipes.collect();
        PipeTables { pipes, limit }
    }
}

impl Drop for PipeTables {
    fn drop(&mut self) {
        self.pipes.clear();
        let _ = setrlimit(Resource::Nofile, self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_criu_needs_and_the_limit_is_what_it_was() {
        let limit = getrlimit(Resource::Nofile);
        let tables = PipeTables::of(50 * PIPE);
        assert_eq!(tables.pipes.len(), 50);
        for pipe in &tables.pipes {
            let size = rustix::pipe::fcntl_getpipe_size(pipe).unwrap();
            assert_eq!(size as u64, PIPE);
        }
        drop(tables);
        assert_eq!(getrlimit(Resource::Nofile), limit);
    }
}
