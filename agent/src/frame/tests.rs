use super::*;
use crate::pace::Pace;

fn stream() -> Vec<u8> {
    let mut sender = Sender::new(Vec::new());
    sender.message(&Message::Close { id: 7, size: 9 }).unwrap();
    sender.event(b"{}").unwrap();
    sender.data(7, 4, b"hello").unwrap();
    sender.pace = Pace::slow();
    sender.data(7, 9, &text()).unwrap();
    sender.pass(true).unwrap();
    sender.to
}

/// Something that can be compressed.
fn text() -> Vec<u8> {
    (0..20_000u32).flat_map(u32::to_le_bytes).collect()
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
    let text = text();
    assert!(matches!(
        receiver.next().unwrap(),
        Some(Frame::Data { id: 7, offset: 9, bytes }) if bytes == text
    ));
    assert!(matches!(
        receiver.next().unwrap(),
        Some(Frame::Message(Message::Pass { last: true }))
    ));
    assert!(matches!(receiver.next().unwrap(), Some(Frame::Sum)));
    assert!(receiver.next().unwrap().is_none());
    assert!(stream.len() < text.len(), "{}", stream.len());
}

#[test]
fn noise_goes_as_it_is_and_text_between_it_compressed() {
    let mut noise = vec![0; CHUNK];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let text = text();
    let mut sender = Sender::new(Vec::new());
    sender.pace = Pace::slow();
    for bytes in [&noise, &text, &noise] {
        sender.data(1, 0, bytes).unwrap();
    }
    sender.pass(true).unwrap();
    let (sent, stream) = (sender.bytes(), sender.to);
    assert!(stream.len() < 2 * CHUNK + text.len() && stream.len() > 2 * CHUNK);
    // Who carries it counts as they do.
    let (mut from, mut to, mut buffer) = (&stream[..], Vec::new(), Vec::new());
    let mut carried = 0;
    while let Some(Passing::Bytes(n)) = carry(&mut from, &mut to, &mut buffer).unwrap() {
        carried += n;
    }
    let sum = 5 + 8 + 32;
    assert_eq!(carried, sent + sum);
    let mut receiver = Receiver::new(&to[..]);
    for expected in [&noise, &text, &noise] {
        let Some(Frame::Data { bytes, .. }) = receiver.next().unwrap() else {
            panic!("no data");
        };
        assert!(bytes == expected);
    }
    while receiver.next().unwrap().is_some() {}
    assert_eq!(receiver.bytes(), sent);
}

#[test]
fn a_chunk_that_claims_to_be_larger_than_any_is_refused() {
    let mut bomb = vec![PACKED, 17, 0, 0, 0];
    bomb.extend([0; 12]);
    bomb.extend(u32::MAX.to_le_bytes());
    bomb.push(0);
    let error = Receiver::new(&bomb[..]).next().unwrap_err();
    assert!(error.to_string().contains("a chunk of"), "{error}");
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
