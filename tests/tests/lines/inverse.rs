//! From datagrams to lines and back.

use core::time::Duration;
use hosted::string::String;
use hosted::vec::Vec;

use crate::common::line::{Datagram, Sender};
use crate::common::words::Text;
use crate::program::MESSAGE;

/// 2003-10-11T22:14:15.003Z.
pub(crate) const NOW: Duration = Duration::from_millis(1_065_910_455_003);

/// Returns a complete datagram, received now from an unnamed sender.
pub(crate) fn whole(bytes: &[u8]) -> Datagram<'_> {
    Datagram { received: NOW, sender: Sender::Unnamed, bytes, missing: 0 }
}

/// Returns what `put` writes to a text with enough room.
pub(crate) fn put(put: impl FnOnce(&mut Text<'_>)) -> Vec<u8> {
    let mut room = hosted::vec![0; Datagram::longest_line(MESSAGE)];
    let mut text = Text::new(&mut room);
    put(&mut text);
    text.bytes().to_vec()
}

/// Returns the line of a datagram: UTF-8 with one newline at the end and no other control character
/// except tab.
pub(crate) fn line_of(datagram: &Datagram<'_>) -> String {
    let line = put(|line| datagram.put_line(line));
    let bound = Datagram::longest_line(datagram.bytes.len());
    assert!(line.len() <= bound, "{} bytes, over {bound}", line.len());
    let line = String::from_utf8(line).unwrap();
    let line = line.strip_suffix('\n').unwrap();
    assert!(line.chars().all(|char| char == '\t' || !char.is_control()), "{line:?}");
    line.into()
}

/// Returns what follows the time in the line of a datagram that arrived now.
pub(crate) fn said_of(bytes: &[u8]) -> String {
    line_of(&whole(bytes)).strip_prefix("2003-10-11T22:14:15.003000Z ").unwrap().into()
}

/// Undoes the escapes, and returns how many bytes the text reports as missing.
pub(crate) fn unescape(text: &str) -> (Vec<u8>, u64) {
    let (mut bytes, mut missing) = (Vec::new(), 0);
    let mut parts = text.split(r"\x");
    bytes.extend(parts.next().unwrap().bytes());
    for part in parts {
        if let Some(cut) = part.strip_prefix('[') {
            assert_eq!(missing, 0, "cut twice: {text:?}");
            missing = cut.strip_suffix(" bytes cut]").unwrap().parse().unwrap();
        } else {
            let (digits, rest) = part.split_at(2);
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
            bytes.extend(rest.bytes());
        }
    }
    (bytes, missing)
}
