//! Feeds the decoder any bytes in any pieces, and compares it with a reader that has all bytes at
//! once.

#![no_main]

use ipc_frame::{DecodeError, Decoder, Header};
use libfuzzer_sys::fuzz_target;

#[path = "../../../tests/src/wire.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod wire;

/// Small, so that the fuzzer soon finds frames of the greatest length and of one byte more.
const BYTES: usize = 64;
const CAPACITY: usize = BYTES - Header::SIZE;

fuzz_target!(|input: &[u8]| {
    // The first byte is the number of lengths that follow, the lengths are those of the pieces, and
    // the rest is the stream.
    let Some((&count, input)) = input.split_first() else { return };
    let (pieces, stream) = input.split_at(input.len().min(usize::from(count % 16)));
    let mut decoder = Decoder::<BYTES>::new();
    let mut reader = Reader { stream, position: 0 };
    let mut rest = stream;
    let mut lens = pieces.iter().cycle();
    while !rest.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty(), "there is room while no whole frame is pending");
        let len = lens.next().map_or(usize::MAX, |len| usize::from(*len).max(1));
        let len = len.min(rest.len()).min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        decoder.filled(len);
        rest = &rest[len..];
        if take(&mut decoder, &mut reader, stream.len() - rest.len()).is_err() {
            return;
        }
    }
});

/// Takes all frames that have arrived. Both readers must find the same.
fn take(decoder: &mut Decoder<BYTES>, reader: &mut Reader<'_>, arrived: usize) -> Result<(), ()> {
    loop {
        assert_eq!(decoder.received(), arrived as u64);
        assert_eq!(decoder.position(), reader.position as u64);
        let expected = reader.next(arrived);
        assert_eq!(decoder.has_frame(), expected != Ok(None));
        let found = decoder.next_frame();
        match (found, expected) {
            (Ok(Some(frame)), Ok(Some((header, payload)))) => {
                assert_eq!((*frame.header(), frame.payload()), (header, payload));
                assert_eq!(decoder.payload(), payload);
            }
            (Ok(None), Ok(None)) => return Ok(()),
            (Err(error), Err(expected)) => {
                assert_eq!(error, expected);
                stays(decoder, error);
                return Err(());
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }
}

/// After an error, further bytes change nothing.
fn stays(decoder: &mut Decoder<BYTES>, error: DecodeError) {
    for _ in 0..3 {
        assert!(decoder.has_frame());
        assert_eq!(decoder.next_frame().unwrap_err(), error);
        let space = decoder.space();
        space.fill(0);
        let len = space.len();
        decoder.filled(len);
    }
    decoder.reset();
    assert!(!decoder.has_frame() && decoder.position() == 0 && decoder.received() == 0);
}

/// Reads frames from the whole stream, without the decoder.
struct Reader<'a> {
    stream: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self, arrived: usize) -> Result<Option<(Header, &'a [u8])>, DecodeError> {
        let pending = &self.stream[self.position..arrived];
        let Some((bytes, rest)) = pending.split_first_chunk::<{ Header::SIZE }>() else {
            return Ok(None);
        };
        let header = Header::decode(bytes)?;
        assert_eq!(header.encode(), *bytes, "a header has exactly one encoding");
        assert_eq!(by_hand(&header), *bytes, "an accepted header has the fields of its bytes");
        if header.len() > CAPACITY as u32 {
            return Err(DecodeError::TooLong { len: header.len(), capacity: CAPACITY });
        }
        let len = header.len() as usize;
        if rest.len() < len {
            return Ok(None);
        }
        self.position += Header::SIZE + len;
        Ok(Some((header, &rest[..len])))
    }
}

/// Encodes a header without the crate.
fn by_hand(header: &Header) -> [u8; Header::SIZE] {
    let raw = wire::RawHeader {
        len: header.len(),
        kind: header.kind() as u8,
        flags: header.is_resent().into(),
        method: header.method(),
        id: header.id(),
        fd_count: header.fd_count(),
        reply_fds: header.reply_fds(),
        fd_sequence: header.fd_sequence(),
    };
    raw.bytes()
}
