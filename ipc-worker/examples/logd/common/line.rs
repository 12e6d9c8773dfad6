//! One datagram becomes one line: `TIME FACILITY.SEVERITY TEXT`. Uses only `core`.
//!
//! ```text
//! 2001-02-03T04:05:06.000007Z auth.crit mymachine su[77]: 'su root' failed for lonvick
//! 2001-02-03T04:05:06.000007Z user.info pid=77,uid=1000,gid=100 app: with --trusted
//! 2001-02-03T04:05:06.000007Z user.info a bell\x07 and a long message\x[4242 bytes cut]
//! ```
//!
//! - The time is that of receipt, in UTC. The client's time is at the start of the text, as sent,
//!   but only if it differs by more than two seconds.
//! - The text of RFC 3164 is as sent: host, `tag[number]:` and the rest, if present. A header of
//!   RFC 5424 becomes `host app[number]: id [data] text`, without nil fields.
//! - One LF and one NUL at the end are framing and are removed.
//! - `\x` in a line always comes from the daemon: `\xNN` is a byte, `\x[N bytes cut]` a cut. If
//!   `\x` was sent, the line has `\x5cx`. Any other backslash stands for itself.

use core::time::Duration;

use super::date;
use super::message::{Header, Message};
use super::words::Text;

/// Most bytes of a line besides its text: time, kind, sender, a cut and the end.
const HEAD: usize = date::LEN + " authpriv.warning ".len() + SENDER + CUT + 1;
const SENDER: usize = "pid=,uid=,gid= ".len() + 3 * 10;
const CUT: usize = r"\x[ bytes cut]".len() + 20;

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Not named in its line.
    Unnamed,
    /// The kernel. No other sender may log as the kernel.
    Kernel,
    /// A process, by its pid, uid and gid. The kernel reports them, so no client can choose them.
    Process([u32; 3]),
}

/// A received datagram, with its time and sender.
#[derive(Clone, Copy)]
pub(crate) struct Datagram<'a> {
    /// The time of receipt, since 1970.
    pub(crate) received: Duration,
    pub(crate) sender: Sender,
    pub(crate) bytes: &'a [u8],
    /// How many further bytes were sent.
    pub(crate) missing: u64,
}

impl Datagram<'_> {
    /// Returns the length of the longest line for a datagram of `len` bytes: every byte is escaped.
    pub(crate) const fn longest_line(len: usize) -> usize {
        HEAD + 4 * len
    }

    /// Appends the whole line.
    pub(crate) fn put_line(&self, line: &mut Text<'_>) {
        let (bytes, missing) = self.whole();
        let message = Message::parse(bytes, self.sender == Sender::Kernel);
        date::put(line, self.received);
        for text in [" ", message.facility, ".", message.severity, " "] {
            line.put(text.as_bytes());
        }
        if let Sender::Process(ids) = self.sender {
            for (name, id) in ["pid=", ",uid=", ",gid="].into_iter().zip(ids) {
                line.put(name.as_bytes());
                line.put_number(u64::from(id), 1);
            }
            line.put(b" ");
        }
        self.put_message(line, &message, missing);
        line.put(b"\n");
    }

    /// Appends only the text, as it is in the line.
    pub(crate) fn put_text(&self, line: &mut Text<'_>) {
        let (bytes, missing) = self.whole();
        self.put_message(line, &Message::parse(bytes, false), missing);
    }

    fn put_message(&self, line: &mut Text<'_>, message: &Message<'_>, missing: u64) {
        if let Some((_, written)) = message.time.filter(|(time, _)| !time.is_near(self.received)) {
            line.put(written);
            line.put(b" ");
        }
        if let Some(header) = message.header {
            put_header(line, header);
        }
        escape(line, message.text);
        if missing > 0 {
            line.put(br"\x[");
            line.put_number(missing, 1);
            line.put(b" bytes cut]");
        }
    }

    /// Returns the bytes without framing, or up to the last whole character before a cut, and how
    /// many bytes are missing.
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

fn put_header(line: &mut Text<'_>, [host, app, process, id, data]: Header<'_>) {
    put_word(line, host);
    if [host, app, process].iter().any(|field| !field.is_empty()) {
        escape(line, if app.is_empty() { b"-" } else { app });
        if !process.is_empty() {
            line.put(b"[");
            escape(line, process);
            line.put(b"]");
        }
        line.put(b": ");
    }
    put_word(line, id);
    put_word(line, data);
}

/// Appends a word and a space, or nothing for a nil field.
fn put_word(line: &mut Text<'_>, word: &[u8]) {
    if !word.is_empty() {
        escape(line, word);
        line.put(b" ");
    }
}

/// Appends a text with everything visible. Bytes that a terminal may obey, that a reader may take
/// for the end of a line, or that are not UTF-8 become `\xNN`.
fn escape(line: &mut Text<'_>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let (valid, mut clean) = (chunk.valid(), 0);
        let bytes = valid.as_bytes();
        for (index, char) in valid.char_indices() {
            let after = index + char.len_utf8();
            if is_unfit(char) || (char == '\\' && bytes.get(after) == Some(&b'x')) {
                line.put(bytes.get(clean..index).unwrap_or_default());
                put_hex(line, bytes.get(index..after).unwrap_or_default());
                clean = after;
            }
        }
        line.put(bytes.get(clean..).unwrap_or_default());
        put_hex(line, chunk.invalid());
    }
}

/// Returns whether a line must not contain this character. These are control characters (C0 and
/// C1) except tab; line and paragraph separators, which end a line for some readers; and characters
/// that reorder the text after them, so that a line could display what it does not contain
/// (embeddings, overrides, isolates). Direction marks are allowed: people write them, and they move
/// only themselves.
pub(crate) fn is_unfit(char: char) -> bool {
    (char.is_control() && char != '\t')
        || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn put_hex(line: &mut Text<'_>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?');
        line.put(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    }
}
