//! One stream over several connections, where the round trip is long: the kernel lets no more than some
//! megabytes of a connection be under way, so each carries only that much for every round trip.
//!
//! The stream is cut into pieces, each with its length before it, that go to the connections in turn and
//! are taken from them in the same turn: order stays, and nothing needs a number.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::time::Duration;

/// Bytes of the stream in one piece.
const PIECE: usize = 256 * 1024;
/// Below this, one connection fills any link that is met.
const SHORT: Duration = Duration::from_millis(4);
/// The most connections.
pub(crate) const MOST: u8 = 8;

/// How many connections to use where a round trip takes so long: one more for each 4 ms, in which a
/// connection moves about 4 MiB, what kernels allow it by default. Together this is a gigabyte a second.
pub(crate) fn count(round_trip: Duration) -> u8 {
    let more = round_trip.as_micros() / SHORT.as_micros();
    u8::try_from(more)
        .unwrap_or(MOST)
        .saturating_add(1)
        .min(MOST)
}

/// The writing end.
pub(crate) struct Split<W> {
    lanes: Vec<W>,
    turn: usize,
    piece: Vec<u8>,
}

impl<W: Write> Split<W> {
    pub fn new(lanes: Vec<W>) -> Self {
        Split {
            lanes,
            turn: 0,
            piece: Vec::with_capacity(PIECE),
        }
    }

    fn send(&mut self) -> Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.piece.len()).map_err(Error::other)?;
        let lane = &mut self.lanes[self.turn];
        lane.write_all(&length.to_le_bytes())?;
        lane.write_all(&self.piece)?;
        self.piece.clear();
        self.turn = (self.turn + 1) % self.lanes.len();
        Ok(())
    }
}

impl<W: Write> Write for Split<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if let [alone] = &mut self.lanes[..] {
            return alone.write(bytes);
        }
        let n = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..n]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> Result<()> {
        self.send()?;
        self.lanes.iter_mut().try_for_each(Write::flush)
    }
}

/// The reading end.
pub(crate) struct Joined<R> {
    lanes: Vec<R>,
    turn: usize,
    /// What is left of the piece that is being read.
    left: usize,
}

impl<R: Read> Joined<R> {
    pub fn new(lanes: Vec<R>) -> Self {
        Joined {
            lanes,
            turn: 0,
            left: 0,
        }
    }

    /// The connections.
    pub fn lanes(&self) -> &[R] {
        &self.lanes
    }

    /// The next piece's length; none at the end of the stream, which is between two pieces.
    fn piece(&mut self) -> Result<Option<usize>> {
        let mut length = [0; 4];
        let lane = &mut self.lanes[self.turn];
        let n = lane.read(&mut length)?;
        if n == 0 {
            return Ok(None);
        }
        lane.read_exact(&mut length[n..])?;
        match u32::from_le_bytes(length) as usize {
            n @ 1..=PIECE => Ok(Some(n)),
            n => Err(Error::new(
                ErrorKind::InvalidData,
                format!("a piece of {n} bytes"),
            )),
        }
    }
}

impl<R: Read> Read for Joined<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let [alone] = &mut self.lanes[..] {
            return alone.read(buffer);
        }
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            match self.piece()? {
                Some(length) => self.left = length,
                None => return Ok(0),
            }
        }
        let most = buffer.len().min(self.left);
        let n = self.lanes[self.turn].read(&mut buffer[..most])?;
        if n == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.left -= n;
        if self.left == 0 {
            self.turn = (self.turn + 1) % self.lanes.len();
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    #[test]
    fn a_longer_round_trip_gets_more_lanes() {
        let of = |millis| count(Duration::from_millis(millis));
        assert_eq!(count(Duration::from_micros(200)), 1);
        assert_eq!([0, 3, 4, 10, 20, 40].map(of), [1, 1, 2, 3, 6, MOST]);
        assert_eq!(of(60_000), MOST);
    }

    /// Sends over real connections, with a flush here and there; what arrives.
    fn through(lanes: usize, parts: &[Vec<u8>]) -> Vec<u8> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (out, into): (Vec<_>, Vec<_>) = (0..lanes)
            .map(|_| {
                let out = TcpStream::connect(address).unwrap();
                (out, listener.accept().unwrap().0)
            })
            .unzip();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut split = Split::new(out);
                for part in parts {
                    split.write_all(part).unwrap();
                    split.flush().unwrap();
                }
            });
            let mut arrived = Vec::new();
            Joined::new(into).read_to_end(&mut arrived).unwrap();
            arrived
        })
    }

    #[test]
    fn what_is_split_is_joined_whatever_the_lanes() {
        let parts: Vec<Vec<u8>> = [3, PIECE, 0, 5 * PIECE + 17, 1, PIECE - 1, 2]
            .iter()
            .enumerate()
            .map(|(seed, size)| {
                let mut part = vec![0; *size];
                blake3::Hasher::new()
                    .update(&[u8::try_from(seed).unwrap()])
                    .finalize_xof()
                    .fill(&mut part);
                part
            })
            .collect();
        let whole = parts.concat();
        for lanes in [1, 2, 3, 8] {
            assert!(through(lanes, &parts) == whole, "{lanes} lanes");
        }
    }

    #[test]
    fn a_lane_that_ends_within_a_piece_is_noticed() {
        let mut first = Vec::new();
        let mut second = Vec::new();
        let mut split = Split::new(vec![&mut first, &mut second]);
        for byte in [1, 2, 3] {
            split.write_all(&[byte; 100]).unwrap();
            split.flush().unwrap();
        }
        drop(split);
        let cut = &second[..second.len() - 1];
        let mut read = Vec::new();
        assert!(
            Joined::new(vec![&first[..], cut])
                .read_to_end(&mut read)
                .is_err()
        );
        assert_eq!(read.len(), 199);
    }
}
