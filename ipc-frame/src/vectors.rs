//! The golden vectors of `WIRE.md`, checked in both directions.

mod meaning;

use std::string::{String, ToString as _};
use std::vec::Vec;

use self::meaning::{Meaning, bytes};
use crate::{Decoder, Kind};

const DOCUMENT: &str = include_str!("../WIRE.md");

/// The receiver's payload limit in the document, plus a header.
const BYTES: usize = 40 + 24;

/// Miri is some hundred times slower, so it tries few lengths of pieces.
const STEP: usize = if cfg!(miri) { 40 } else { 1 };

/// Returns the rows of the fenced blocks of this name, split into columns.
fn rows(block: &str) -> Vec<Vec<String>> {
    let fence = std::format!("```{block}");
    let mut rows = Vec::new();
    let mut inside = false;
    for line in DOCUMENT.lines() {
        if line.starts_with("```") {
            inside = line == fence;
        } else if inside {
            rows.push(line.split('|').map(|column| column.trim().to_string()).collect());
        }
    }
    assert!(!rows.is_empty(), "WIRE.md has no block {block}");
    rows
}

/// Feeds the bytes in pieces of `len` bytes and returns their meaning.
fn decode(bytes: &[u8], len: usize) -> Meaning {
    let mut decoder = Decoder::<BYTES>::new();
    let mut meaning = Meaning::default();
    for mut piece in bytes.chunks(len) {
        while !piece.is_empty() && !meaning.is_refused() {
            let space = decoder.space();
            let (now, later) = piece.split_at(piece.len().min(space.len()));
            space[..now.len()].copy_from_slice(now);
            decoder.filled(now.len());
            piece = later;
            take(&mut decoder, &mut meaning);
        }
    }
    let is_empty = bytes.is_empty();
    if !meaning.is_refused() && (is_empty || decoder.position() < decoder.received()) {
        meaning.incomplete();
    }
    meaning
}

fn take(decoder: &mut Decoder<BYTES>, meaning: &mut Meaning) {
    loop {
        match decoder.next_frame() {
            Ok(None) => return,
            Ok(Some(frame)) => meaning.frame(&frame),
            Err(error) => meaning.refuse(error),
        }
        if meaning.is_refused() {
            return;
        }
    }
}

#[test]
fn every_vector_has_the_documented_meaning_however_it_is_cut() {
    for row in rows("vectors") {
        let [name, hex, meaning] = &row[..] else { panic!("not three columns: {row:?}") };
        let bytes = bytes(hex);
        for len in (1..=bytes.len().max(1)).step_by(STEP) {
            assert_eq!(decode(&bytes, len).to_string(), *meaning, "{name} in pieces of {len}");
        }
    }
}

#[test]
fn every_vector_encodes_to_its_bytes() {
    for row in rows("vectors") {
        let [name, hex, meaning] = &row[..] else { panic!("not three columns: {row:?}") };
        let (frames, complete) = meaning::encode(meaning);
        let bytes = bytes(hex);
        assert!(bytes.starts_with(&frames), "{name}: {frames:02x?}");
        assert!(!complete || frames.len() == bytes.len(), "{name}");
    }
}

#[test]
fn every_kind_and_every_error_has_a_vector() {
    let rows = rows("vectors");
    let parts = || rows.iter().filter_map(|row| row.last()).flat_map(|text| text.split(" ; "));
    let has = |start: &str| {
        parts().any(|part| part == start || part.starts_with(&std::format!("{start} ")))
    };
    for kind in Kind::ALL {
        assert!(has(&kind.to_string()), "no vector for {kind}");
    }
    for name in meaning::names() {
        assert!(has(&std::format!("error {name}")), "no vector for {name}");
    }
}

#[test]
fn names_of_vectors_are_unique() {
    let mut names: Vec<String> = rows("vectors").into_iter().map(|row| row[0].clone()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[cfg(feature = "postcard")]
#[test]
fn every_typed_vector_encodes_and_decodes_as_documented() {
    use crate::{Decode, Encode, Postcard};
    use std::fmt::Debug;

    fn check<'a, T>(name: &str, value: T, bytes: &'a [u8])
    where
        T: serde::Serialize + serde::Deserialize<'a> + PartialEq + Debug,
    {
        let mut space = [0; BYTES];
        let len = Postcard(&value).encode(&mut space).unwrap();
        assert_eq!(&space[..len], bytes, "{name}");
        assert_eq!(Postcard::decode(bytes), Ok(Postcard(value)), "{name}");
    }

    for row in rows("typed") {
        let (name, bytes) = (row[0].as_str(), bytes(&row[1]));
        match name {
            "u32" => check(name, 300_u32, &bytes),
            "text" => check(name, "hello", &bytes),
            "bytes" => check(name, &[0_u8, 0xff][..], &bytes),
            "negative" => check(name, -2_i32, &bytes),
            "struct" => check(name, (300_u32, "hi", true), &bytes),
            "absent" => check(name, None::<u8>, &bytes),
            "present" => check(name, Some(7_u8), &bytes),
            _ => panic!("no value for the typed vector {name}"),
        }
    }
}
