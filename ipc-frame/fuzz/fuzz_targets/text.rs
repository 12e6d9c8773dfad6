//! A text from any bytes is valid UTF-8, not longer than its capacity, and a prefix of the input.

#![no_main]

use ipc_frame::Text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check::<0>(input);
    check::<5>(input);
    check::<60>(input);
    check::<255>(input);
});

fn check<const N: usize>(input: &[u8]) {
    let text = Text::<N>::from_bytes(input);
    assert!(text.as_str().len() <= N);
    assert!(input.starts_with(text.as_str().as_bytes()));
    let valid = input.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let lost = &valid[text.as_str().len()..];
    assert!(lost.chars().next().is_none_or(|char| text.as_str().len() + char.len_utf8() > N));
}
