//! One datagram, one line: `TIME FACILITY.SEVERITY TEXT`. Nothing but `core`.
//!
//! ```text
//! 2001-02-03T04:05:06.000007Z auth.crit mymachine su[77]: 'su root' failed for lonvick
//! 2001-02-03T04:05:06.000007Z user.info pid=77,uid=1000,gid=100 app: with --trusted
//! 2001-02-03T04:05:06.000007Z user.info a bell\x07 and a long message\x[4242 bytes cut]
//! ```
//!
//! - The time is that of receipt, in UTC. The client's time stands at the start of the text, as
//!   sent, but only where it says more: where it is over two seconds off.
//! - The text of RFC 3164 is as it was sent: host, `tag[number]:` and the rest, where they are. A
//!   header of RFC 5424 becomes `host app[number]: id [data] text`, without what is nil.
//! - One LF and one NUL at the end are framing and go.
//! - `\x` in a line is always the daemon's word: `\xNN` is a byte, `\x[N bytes cut]` a cut. Where
//!   `\x` was sent, the line has `\x5cx`; any other backslash stands for itself.

use core::time::Duration;

use super::date::{self, put_number};
use super::message::{Header, Message};

/// Bytes of the longest message; longer ones are cut.
pub(crate) const MESSAGE: usize = 16 << 10;
/// Bytes of a line beside those of its text, at most: the time, the kind, the sender, a cut and
/// the end.
const HEAD: usize = date::LEN + " authpriv.warning ".len() + SENDER + CUT + 1;
const SENDER: usize = "pid=,uid=,gid= ".len() + 3 * 10;
const CUT: usize = r"\x[ bytes cut]".len() + 20;

/// What has arrived, when, and from whom.
#[derive(Clone, Copy)]
pub(crate) struct Datagram<'a> {
    /// The time of receipt, since 1970.
    pub(crate) received: Duration,
    /// The sender's pid, uid and gid, if they are to be written. The kernel knows them, so that
    /// no client can choose them.
    pub(crate) sender: Option<[u32; 3]>,
    pub(crate) bytes: &'a [u8],
    /// How many further bytes were sent.
    pub(crate) missing: u64,
}

impl Datagram<'_> {
    /// Returns the bytes of the longest line for a datagram of so many: every byte is escaped.
    pub(crate) const fn longest_line(len: usize) -> usize {
        HEAD + 4 * len
    }

    /// Appends the whole line.
    pub(crate) fn put_line(&self, line: &mut impl Extend<u8>) {
        let (bytes, missing) = self.whole();
        let message = Message::parse(bytes);
        date::put(line, self.received);
        for text in [" ", message.facility, ".", message.severity, " "] {
            put(line, text.as_bytes());
        }
        if let Some(ids) = self.sender {
            for (name, id) in ["pid=", ",uid=", ",gid="].into_iter().zip(ids) {
                put(line, name.as_bytes());
                put_number(line, u64::from(id), 1);
            }
            line.extend([b' ']);
        }
        self.put_message(line, &message, missing);
        line.extend([b'\n']);
    }

    /// Appends the text alone, as it is in the line.
    pub(crate) fn put_text(&self, line: &mut impl Extend<u8>) {
        let (bytes, missing) = self.whole();
        self.put_message(line, &Message::parse(bytes), missing);
    }

    fn put_message(&self, line: &mut impl Extend<u8>, message: &Message<'_>, missing: u64) {
        if let Some((_, written)) = message.time.filter(|(time, _)| !time.is_near(self.received)) {
            put(line, written);
            line.extend([b' ']);
        }
        if let Some(header) = message.header {
            put_header(line, header);
        }
        escape(line, message.text);
        if missing > 0 {
            put(line, br"\x[");
            put_number(line, missing, 1);
            put(line, b" bytes cut]");
        }
    }

    /// Returns the bytes without framing, or up to the last whole character before a cut; and how
    /// many are missing.
    fn whole(&self) -> (&[u8], u64) {
        if self.missing == 0 {
            let without = |end| self.bytes.strip_suffix(end);
            let ends: [&[u8]; 4] = [b"\n\0", b"\0\n", b"\n", b"\0"];
            return (ends.into_iter().find_map(without).unwrap_or(self.bytes), 0);
        }
        let split = |len| self.bytes.split_at_checked(self.bytes.len().checked_sub(len)?);
        let is_begun = |text| {
            let wrong = core::str::from_utf8(text).err();
            wrong.is_some_and(|it| it.valid_up_to() == 0 && it.error_len().is_none())
        };
        let cut = (1..=3).filter_map(split).find(|(_, end)| is_begun(end));
        let (kept, end) = cut.unwrap_or((self.bytes, b""));
        (kept, self.missing.saturating_add(u64::try_from(end.len()).unwrap_or(0)))
    }
}

fn put_header(line: &mut impl Extend<u8>, [host, app, process, id, data]: Header<'_>) {
    put_word(line, host);
    if [host, app, process].iter().any(|field| !field.is_empty()) {
        escape(line, if app.is_empty() { b"-" } else { app });
        if !process.is_empty() {
            line.extend([b'[']);
            escape(line, process);
            line.extend([b']']);
        }
        put(line, b": ");
    }
    put_word(line, id);
    put_word(line, data);
}

/// Appends a word and a space, or nothing for a field that is nil.
fn put_word(line: &mut impl Extend<u8>, word: &[u8]) {
    if !word.is_empty() {
        escape(line, word);
        line.extend([b' ']);
    }
}

/// Appends a text with all of it visible: as `\xNN` each byte of what a terminal may obey or a
/// reader take for the end of a line, and of what is not UTF-8.
fn escape(line: &mut impl Extend<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(index) = rest.find(|char| char == '\\' || is_unfit(char)) {
            let (clean, special) = rest.split_at(index);
            let len = special.chars().next().map_or(0, char::len_utf8);
            let (special, after) = special.split_at(len);
            put(line, clean.as_bytes());
            match special {
                "\\" if !after.starts_with('x') => line.extend([b'\\']),
                _ => put_hex(line, special.as_bytes()),
            }
            rest = after;
        }
        put(line, rest.as_bytes());
        put_hex(line, chunk.invalid());
    }
}

/// Returns whether no line may have this character: control characters but tab, C0 and C1; line
/// and paragraph separators, which end a line for some readers; and what reorders the text after
/// it, so that a line shows what it does not say (embeddings, overrides, isolates). Direction
/// marks stay: people write them, and they move nothing but themselves.
pub(crate) fn is_unfit(char: char) -> bool {
    (char.is_control() && char != '\t')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn put_hex(line: &mut impl Extend<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?');
        line.extend([b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    }
}

fn put(line: &mut impl Extend<u8>, bytes: &[u8]) {
    line.extend(bytes.iter().copied());
}
