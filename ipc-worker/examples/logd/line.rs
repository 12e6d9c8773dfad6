//! One message, one line: when, what kind, and the text as it was sent.

use std::io::Write;
use std::time::{Duration, SystemTime};

/// Names of the facilities by number (RFC 5424, 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Names of the severities by number.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What a message without a valid priority counts as: user.notice (RFC 3164, 4.3.3).
const DEFAULT_PRIORITY: usize = 13;

/// Appends the line of a message: the time of receipt, facility and severity, and the whole
/// datagram with control bytes as `\xNN`.
pub(crate) fn format(line: &mut Vec<u8>, received: Duration, message: &[u8]) {
    let time = humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + received);
    let priority = priority(message).unwrap_or(DEFAULT_PRIORITY);
    let facility = FACILITIES.get(priority / 8).copied().unwrap_or("user");
    let severity = SEVERITIES.get(priority % 8).copied().unwrap_or("notice");
    // Writing to memory does not fail.
    _ = write!(line, "{time} {facility}.{severity} ");
    escape(line, message);
    line.push(b'\n');
}

/// Appends the text with each control byte as `\xNN`.
pub(crate) fn escape(line: &mut impl Extend<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for &byte in text {
        if byte.is_ascii_control() {
            let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?');
            line.extend([b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
        } else {
            line.extend([byte]);
        }
    }
}

/// The number between `<` and `>` at the start, the same in both forms of the protocol.
fn priority(message: &[u8]) -> Option<usize> {
    let rest = message.strip_prefix(b"<")?;
    let end = rest.iter().take(4).position(|&byte| byte == b'>')?;
    let digits = rest.get(..end).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    let priority = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (priority < FACILITIES.len() * 8).then_some(priority)
}
