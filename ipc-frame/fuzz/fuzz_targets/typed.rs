//! Any payload is refused, or decodes to a message that encodes and decodes to the same value.

#![no_main]

use ipc_frame::{Decode, Encode, EncodeError, MessageError, Postcard};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record<'a> {
    number: u64,
    offset: i32,
    text: &'a str,
    raw: &'a [u8],
    level: Level<'a>,
    reply_to: Option<(u16, bool)>,
    initial: char,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Level<'a> {
    Quiet,
    Loud { by: u8 },
    Custom(&'a str),
}

fuzz_target!(|input: &[u8]| {
    let len = input.len();
    match Postcard::<Record<'_>>::decode(input) {
        Ok(message) => again(&message, input),
        Err(MessageError::LeftOver { len: all, used }) => {
            assert!(all == len && used < len);
            let message = Postcard::<Record<'_>>::decode(&input[..used]);
            again(&message.expect("the bytes before those left over"), &input[..used]);
        }
        Err(MessageError::Truncated { len: all } | MessageError::Malformed { len: all }) => {
            assert_eq!(all, len);
        }
        Err(error) => panic!("{error}"),
    }
});

/// The input may be longer than the encoding: a number has several encodings, and the crate writes
/// the shortest.
fn again(message: &Postcard<Record<'_>>, input: &[u8]) {
    let mut space = [0; 4096];
    let len = message.encoded_len().expect("a length");
    assert!(len <= input.len());
    if len > space.len() {
        return;
    }
    assert_eq!(message.encode(&mut space), Ok(len));
    assert_eq!(Postcard::decode(&space[..len]).as_ref(), Ok(message));
    let capacity = len - 1;
    let refused = message.encode(&mut space[..capacity]);
    assert_eq!(refused, Err(EncodeError::TooLong { len, capacity }));
}
