//! What goes over the wire, counted where it goes.
//!
//! libssh2 is handed one end of a socket pair; two threads carry its bytes to and from the network and
//! count them: the encrypted bytes, framing included, as the thesis read them from `scp -v`.

use socket2::Socket;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes on the wire so far.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

impl Wire {
    /// (sent, received)
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }
}

/// Carries bytes between `network` and the returned socket until either side closes.
pub(super) fn carry(network: Socket, wire: &Arc<Wire>) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    let near = Socket::from(ours);
    let (near2, network2) = (near.try_clone()?, network.try_clone()?);
    let (up, down) = (Arc::clone(wire), Arc::clone(wire));
    std::thread::Builder::new()
        .name("ssh-up".into())
        .spawn(move || pump(&near, &network, &up.sent))?;
    std::thread::Builder::new()
        .name("ssh-down".into())
        .spawn(move || pump(&network2, &near2, &down.received))?;
    Ok(theirs)
}

fn pump(from: &Socket, to: &Socket, count: &AtomicU64) {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let (mut reader, mut writer) = (from, to);
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                if writer.write_all(&buffer[..n]).is_err() {
                    break;
                }
                count.fetch_add(n as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // SSH has no half-closed connections: the end of one direction is the end of both.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_carried_and_counted_and_a_close_reaches_the_other_side() {
        let (far, network) = UnixStream::pair().unwrap();
        let wire = Arc::new(Wire::default());
        let mut near = carry(Socket::from(network), &wire).unwrap();
        let mut far = far;
        near.write_all(b"hello").unwrap();
        let mut buffer = [0; 5];
        far.read_exact(&mut buffer).unwrap();
        far.write_all(b"ok").unwrap();
        near.read_exact(&mut buffer[..2]).unwrap();
        // Counted after the write, so the peer may have read before the count moved.
        while wire.bytes() != (5, 2) {
            std::thread::yield_now();
        }
        drop(far);
        assert_eq!(near.read(&mut buffer).unwrap(), 0);
    }
}
