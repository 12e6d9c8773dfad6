//! A peer that sends arbitrary bytes and ends at any time.

use std::time::{Duration, Instant};
use std::vec;
use std::vec::Vec;

use heapless::Vec as FixedVec;
use ipc_frame::{DecodeError, Decoder};

use crate::contract::Transport;
use crate::laws::tools::{Random, await_end, frame, patiently, send_most, settled};

/// The outcome of a stream: the number of frames, and the error that ended it.
type Fate = (u64, Option<DecodeError>);

/// Takes frames until `len` bytes in all have arrived or an error comes.
fn take<const N: usize>(
    decoder: &mut Decoder<N>,
    len: usize,
    mut receive: impl FnMut(&mut [u8]) -> usize,
) -> Fate {
    let len = u64::try_from(len).unwrap();
    let mut frames = 0;
    let refused = loop {
        match decoder.advance() {
            Ok(Some(header)) => {
                assert_eq!(decoder.payload().len(), usize::try_from(header.len()).unwrap());
                frames += 1;
            }
            Ok(None) if decoder.received() == len => break None,
            Ok(None) => {
                let len = receive(decoder.space());
                decoder.filled(len);
            }
            Err(error) => break Some(error),
        }
    };
    (frames, refused)
}

/// Sends the bytes, and takes frames until `len` bytes in all have arrived or an error comes. It
/// receives as soon as the transport is full.
fn carry(
    decoder: &mut Decoder<256>,
    len: usize,
    bytes: &[u8],
    (left, right): (&mut impl Transport, &mut impl Transport),
) -> Fate {
    let mut rest = bytes;
    let receive = |space: &mut [u8]| {
        patiently(|| {
            rest = &rest[send_most(left, [rest])..];
            settled(right.receive(space))
        })
    };
    take(decoder, len, receive)
}

/// The outcome of the same bytes without a transport.
fn judge(bytes: &[u8]) -> Fate {
    let mut rest = bytes;
    take(&mut Decoder::<256>::new(), bytes.len(), |space| {
        let len = rest.len().min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
        len
    })
}

/// A frame, noise, or noise that begins like a frame and passes the first checks.
pub(super) fn noise(random: &mut Random, fds: (u16, u32)) -> Vec<u8> {
    let mut bytes = frame(1, fds, &vec![1; random.below(90)]);
    match random.below(6) {
        0 => bytes.fill_with(|| random.number().to_le_bytes()[0]),
        1 => bytes.truncate(1 + random.below(24)),
        2 => {
            let place = random.below(24);
            bytes[place] = random.number().to_le_bytes()[0];
        }
        3 => {
            let place = random.below(bytes.len());
            bytes[place] ^= 1 << random.below(8);
        }
        _ => {}
    }
    bytes
}

/// Sends a frame and then noise, and checks for the same outcome as without a transport. Returns
/// whether the noise was refused.
pub fn sends_random_bytes<A: Transport, B: Transport>(
    (mut left, mut right): (A, B),
    random: &mut Random,
) -> bool {
    // Not on the heap: a varying size would change how much memory the heap keeps.
    let mut sent = FixedVec::<u8, 1024>::new();
    let (mut decoder, mut fate) = (Decoder::<256>::new(), (0, None));
    let mut bytes = frame(1, (0, 0), b"an honest peer at first");
    for _ in 0..=random.below(8) {
        sent.extend_from_slice(&bytes).unwrap();
        let (frames, refused) = carry(&mut decoder, sent.len(), &bytes, (&mut left, &mut right));
        fate = (fate.0 + frames, refused);
        assert!(fate.0 > 0, "the first frame was fine");
        if refused.is_some() {
            break;
        }
        bytes = noise(random, (0, 0));
    }
    assert_eq!(fate, judge(&sent));
    if fate.1.is_none() {
        drop(left);
        await_end(|| right.receive(&mut [0; 16]));
    }
    fate.1.is_some()
}

/// Random bytes end in the same error as without a transport.
pub fn random_bytes_end_in_a_typed_error<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    let mut random = Random(0x9e37_79b9);
    let mut refused = 0;
    for _ in 0..100 {
        refused += i32::from(sends_random_bytes(pair(), &mut random));
    }
    assert!(refused > 40 && refused < 100, "{refused}");
}

/// Sends a header with a length over the receiver's capacity.
pub fn forges_a_length<A: Transport, B: Transport>((mut left, mut right): (A, B), len: u32) {
    let mut header = frame(1, (0, 0), b"");
    header[..4].copy_from_slice(&len.to_le_bytes());
    let mut decoder = Decoder::<256>::new();
    let refused = DecodeError::TooLong { len, capacity: 232 };
    let fate = carry(&mut decoder, 24, &header, (&mut left, &mut right));
    assert_eq!(fate, (0, Some(refused)));
    assert_eq!(decoder.next_frame().err(), Some(refused), "the error is final");
}

/// A forged length ends in an error that contains the length.
pub fn forged_lengths_end_in_a_typed_error<A: Transport, B: Transport>(pair: impl Fn() -> (A, B)) {
    for len in [233, 257, 65_536, 1 << 24, i32::MAX.unsigned_abs(), u32::MAX - 24, u32::MAX] {
        forges_a_length(pair(), len);
    }
}

/// Sends the first bytes of a frame, then nothing for a while, then the rest.
pub fn sends_half_a_frame<A: Transport, B: Transport>(
    (mut left, mut right): (A, B),
    len: usize,
    silence: Duration,
) {
    let whole = frame(1, (0, 0), b"payload");
    let mut decoder = Decoder::<256>::new();
    let fate = carry(&mut decoder, len, &whole[..len], (&mut left, &mut right));
    assert_eq!(fate, (0, None));
    let deadline = Instant::now() + silence;
    loop {
        assert_eq!(settled(right.receive(decoder.space())), None, "no call waits");
        if Instant::now() >= deadline {
            break;
        }
    }
    // The sender was only slow.
    let fate = carry(&mut decoder, whole.len(), &whole[len..], (&mut left, &mut right));
    assert_eq!(fate, (1, None));
}

/// Half a frame followed by silence is "would block": no call waits. The rest can follow later.
pub fn half_a_frame_and_silence_end_at_a_deadline<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    for len in [1, 23, 24, 30] {
        sends_half_a_frame(pair(), len, Duration::from_millis(10));
    }
}

/// Makes `calls` sending calls, each with a part of a frame, or fewer if the transport is full.
/// Returns how many bytes were taken.
pub fn send_parts(to: &mut impl Transport, calls: usize) -> usize {
    send_most(to, frame(1, (0, 0), b"payload").chunks(7).cycle().take(calls))
}

/// Checks that `sent` bytes and then the end arrive.
pub fn take_last_words(from: &mut impl Transport, sent: usize) {
    let receive = |space: &mut [u8]| patiently(|| settled(from.receive(space)));
    let fate = take(&mut Decoder::<256>::new(), sent, receive);
    assert_eq!(fate, (u64::try_from(sent / 31).unwrap(), None), "to the last byte");
    await_end(|| from.receive(&mut [0; 16]));
}

/// Ends before a given call, and checks that all it had sent arrives.
pub fn dies<A: Transport, B: Transport>((mut left, mut right): (A, B), calls: usize) {
    let sent = send_parts(&mut left, calls);
    drop(left);
    take_last_words(&mut right, sent);
}

/// Everything that a peer sent before it ended arrives, whichever call was its last.
pub fn a_peer_that_dies_at_each_call_leaves_all_that_it_sent<A: Transport, B: Transport>(
    pair: impl Fn() -> (A, B),
) {
    for calls in 0..20 {
        dies(pair(), calls);
    }
}
