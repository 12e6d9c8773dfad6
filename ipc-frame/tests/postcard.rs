//! Serde types of any value go through a queue and a decoder unchanged.

use std::io::{self, Read as _};

use ipc_frame::{
    Decode as _, Decoder, Encode, EncodeError, Header, MaxLen as _, MessageError, Postcard, Queue,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer};

const BYTES: usize = 1024;
const HEADER: Header = Header::request(1, 1);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Line<'a> {
    number: u64,
    offset: i32,
    text: &'a str,
    raw: &'a [u8],
    level: Level<'a>,
    reply_to: Option<(u16, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Level<'a> {
    Quiet,
    Loud { by: u8 },
    Custom(&'a str),
}

/// Sends everything that is queued.
fn send<const FRAMES: usize>(queue: &mut Queue<BYTES, FRAMES>, decoder: &mut Decoder<BYTES>) {
    let sent = queue.send_with(|pieces, _| {
        let mut bytes = &pieces.concat()[..];
        let len = bytes.read(decoder.space())?;
        decoder.filled(len);
        Ok::<_, io::Error>(Some(len))
    });
    assert!(sent.is_ok_and(|len| len.is_some()));
}

fn level(name: &str) -> impl Strategy<Value = Level<'_>> {
    prop_oneof![
        Just(Level::Quiet),
        any::<u8>().prop_map(|by| Level::Loud { by }),
        Just(Level::Custom(name)),
    ]
}

fn config() -> ProptestConfig {
    // Miri is some hundred times slower, and has no files to store failures in.
    let cases = if cfg!(miri) { 4 } else { 2000 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn borrowed_fields_survive_a_round_trip(
        number: u64,
        offset: i32,
        text in ".{0,60}",
        raw in proptest::collection::vec(any::<u8>(), 0..200),
        level in level("custom"),
        reply_to: Option<(u16, bool)>,
    ) {
        let line = Line { number, offset, text: &text, raw: &raw, level, reply_to };
        let mut queue = Queue::<BYTES, 1>::new();
        let mut decoder = Decoder::<BYTES>::new();
        let room = queue.reserve(Postcard(line).encoded_len().unwrap()).unwrap();
        let len = Postcard(line).encode(queue.payload_mut(&room)).unwrap();
        queue.commit(room, HEADER, 0, len).unwrap();
        send(&mut queue, &mut decoder);
        let frame = decoder.next_frame().unwrap().unwrap();
        prop_assert_eq!(Postcard::<Line<'_>>::decode(frame.payload()), Ok(Postcard(line)));
        prop_assert_eq!(Postcard(line).encoded_len(), Ok(frame.payload().len()));
    }

    #[test]
    fn too_little_room_is_an_error_with_both_numbers(
        text in ".{0,60}",
        capacity in 0_usize..200,
    ) {
        let message = Postcard((7_u8, text.as_str()));
        let len = message.encoded_len().unwrap();
        let expected =
            if len <= capacity { Ok(len) } else { Err(EncodeError::TooLong { len, capacity }) };
        prop_assert_eq!(message.encode(&mut vec![0; capacity]), expected);
    }

    #[test]
    fn cut_off_and_overlong_payloads_are_errors(number: u64, text in ".{1,60}", more in 1_usize..9) {
        let message = Postcard((number, text.as_str()));
        let mut payload = vec![0; 100 + 4 * 60];
        let used = message.encode(&mut payload).unwrap();
        for len in 0..used {
            let cut = Postcard::<(u64, &str)>::decode(&payload[..len]);
            prop_assert_eq!(cut, Err(MessageError::Truncated { len }));
        }
        let len = used + more;
        let long = Postcard::<(u64, &str)>::decode(&payload[..len]);
        prop_assert_eq!(long, Err(MessageError::LeftOver { len, used }));
    }

    #[test]
    fn no_bounded_message_is_longer_than_its_bound(value: (u64, i32, Option<u16>, [bool; 3])) {
        let message = Postcard(value);
        prop_assert!(message.encoded_len().unwrap() <= <Postcard<(u64, i32, Option<u16>, [bool; 3])>>::MAX_LEN);
    }

    #[test]
    fn any_payload_is_a_message_or_an_error(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(message) = Postcard::<Line<'_>>::decode(&payload) {
            prop_assert!(message.encoded_len().unwrap() <= payload.len());
        }
    }
}

#[test]
fn value_that_serde_cannot_write_is_refused() {
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    assert_eq!(Postcard(Stubborn).encoded_len(), Err(EncodeError::Unencodable));
    assert_eq!(Postcard(Stubborn).encode(&mut []), Err(EncodeError::Unencodable));
}

#[test]
fn bytes_that_do_not_decode_are_malformed() {
    assert_eq!(Postcard::<bool>::decode(&[2]), Err(MessageError::Malformed { len: 1 }));
    assert_eq!(Postcard::<&str>::decode(&[1, 0xff]), Err(MessageError::Malformed { len: 2 }));
    assert_eq!(Postcard::<Level<'_>>::decode(&[9]), Err(MessageError::Malformed { len: 1 }));
}

#[test]
fn the_bound_is_known_at_compile_time() {
    const { assert!(<Postcard<(u64, u32)>>::MAX_LEN == 15) };
}

#[test]
fn a_type_that_derives_max_size_has_a_bound() {
    #[derive(Serialize, postcard::experimental::max_size::MaxSize)]
    struct Block {
        number: u32,
        data: [u64; 2],
    }
    const { assert!(<Postcard<Block>>::MAX_LEN == 5 + 20) };
    assert!(Postcard(Block { number: u32::MAX, data: [u64::MAX; 2] }).encoded_len() == Ok(25));
}
