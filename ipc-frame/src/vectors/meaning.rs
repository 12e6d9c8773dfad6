//! The meaning of a vector's bytes, in the terms of the document.

use core::fmt;
use std::format;
use std::string::{String, ToString as _};
use std::vec::Vec;

use crate::{DecodeError, Frame, Header, Kind};

/// Makes a function that writes an error as the document does, and the list of all such texts. A
/// variant without a text does not compile, and a text without a vector fails a test.
macro_rules! errors {
    ($all:ident, $function:ident($error:ty) { $($pattern:pat => $text:literal,)* }) => {
        const $all: &[&str] = &[$($text),*];

        fn $function(error: $error) -> String {
            match error {
                $($pattern => format!($text),)*
            }
        }
    };
}

errors!(REFUSALS, refusal(DecodeError) {
    DecodeError::UnknownKind { kind } => "unknown-kind kind={kind}",
    DecodeError::FieldOverLimit { kind, offset, value, limit } =>
        "field-over-limit kind={kind} offset={offset} value={value} limit={limit}",
    DecodeError::TooLong { len, capacity } => "too-long len={len} capacity={capacity}",
});

/// Returns the names of all errors.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let texts = [REFUSALS, &["fd-sequence"]];
    texts.into_iter().flatten().filter_map(|text| text.split(' ').next())
}

/// The frames so far, and how they ended.
#[derive(Default)]
pub(super) struct Meaning {
    parts: Vec<String>,
    /// Descriptors announced so far.
    fd_sequence: u32,
    refused: bool,
}

impl Meaning {
    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        let header = frame.header();
        let (fd_count, got) = (header.fd_count(), header.fd_sequence());
        let expected = self.fd_sequence;
        if fd_count > 0 && got != expected {
            return self.error(&format!("fd-sequence expected={expected} got={got}"));
        }
        self.fd_sequence = expected.wrapping_add(fd_count.into());
        self.parts.push(text(frame));
    }

    pub(super) fn refuse(&mut self, error: DecodeError) {
        self.error(&refusal(error));
    }

    pub(super) fn incomplete(&mut self) {
        self.parts.push("incomplete".into());
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.refused
    }

    fn error(&mut self, error: &str) {
        self.parts.push(format!("error {error}"));
        self.refused = true;
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join(" ; "))
    }
}

fn text(frame: &Frame<'_>) -> String {
    let header = frame.header();
    let mut words = Vec::from([header.kind().to_string()]);
    let mut word = |is_shown: bool, word: String| {
        if is_shown {
            words.push(word);
        }
    };
    word(header.is_resent(), "resent".into());
    word(header.method() != 0, format!("method={:#x}", header.method()));
    word(header.id() != 0, format!("id={:#x}", header.id()));
    word(header.fd_count() != 0, format!("fds={}", header.fd_count()));
    word(header.reply_fds() != 0, format!("reply-fds={}", header.reply_fds()));
    word(header.fd_sequence() != 0, format!("sequence={}", header.fd_sequence()));
    let payload: String = frame.payload().iter().map(|byte| format!("{byte:02x}")).collect();
    word(!payload.is_empty(), format!("payload={payload}"));
    words.join(" ")
}

/// Encodes the frames of a meaning. Returns whether the meaning has nothing else.
pub(super) fn encode(meaning: &str) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    for part in meaning.split(" ; ") {
        let mut words = part.split(' ');
        let first = words.next().unwrap();
        if first == "incomplete" || first == "error" {
            return (bytes, false);
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.to_string() == first).unwrap();
        let (mut method, mut id, mut fds, mut sequence, mut resent) = (0, 0, 0, 0, false);
        let mut reply_fds = 0;
        let mut payload = Vec::new();
        for word in words {
            let (field, value) = word.split_once('=').unwrap_or((word, ""));
            match field {
                "resent" => resent = true,
                "method" => method = number(value).try_into().unwrap(),
                "id" => id = number(value),
                "fds" => fds = number(value).try_into().unwrap(),
                "reply-fds" => reply_fds = number(value).try_into().unwrap(),
                "sequence" => sequence = number(value).try_into().unwrap(),
                "payload" => payload = self::bytes(value),
                _ => panic!("no field {field}"),
            }
        }
        let header = match kind {
            Kind::Request => Header::request(method, id).allowing(reply_fds),
            Kind::OneWay => Header::one_way(method, id),
            Kind::Reply => Header::reply(id),
            Kind::Refusal => Header::refusal(id),
            Kind::Ready => Header::ready(),
            Kind::Failed => Header::failed(),
            Kind::Done => Header::done(id),
            Kind::Note => Header::note(method, id),
        };
        let len = payload.len().try_into().unwrap();
        let mut header = header.encode_with(len, fds, sequence).unwrap();
        if resent {
            Header::stamp_resent(&mut header);
        }
        bytes.extend(header);
        bytes.extend(payload);
    }
    (bytes, true)
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// Reads hexadecimal text, with or without spaces.
pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|char| !char.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}
