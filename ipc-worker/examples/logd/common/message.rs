//! Parses the parts of a datagram that its line needs. Uses only `core`.
//!
//! RFC 3164 has host, tag, number and text in the same order as the line, so only priority and time
//! are split off. RFC 5424 is parsed completely. Whatever does not parse is text.

use super::date::Time;

/// Names of the facilities by number (RFC 5424, 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// Names of the severities by number.
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The priority of a message without a valid one: user.notice (RFC 3164, 4.3.3).
const DEFAULT_PRIORITY: usize = 13;

/// Returns whether this is `FACILITY.SEVERITY`, as in a line.
pub(crate) fn is_kind(text: &str) -> bool {
    text.split_once('.').is_some_and(|(facility, severity)| {
        FACILITIES.contains(&facility) && SEVERITIES.contains(&severity)
    })
}

/// The client's time, and its text.
pub(crate) type Stamp<'a> = (Time, &'a [u8]);

/// The parts of a datagram, each as it was sent.
pub(crate) struct Message<'a> {
    pub(crate) facility: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) time: Option<Stamp<'a>>,
    /// Only in RFC 5424.
    pub(crate) header: Option<Header<'a>>,
    pub(crate) text: &'a [u8],
}

/// Host, application, process, message id and structured data of an RFC 5424 header. A nil field
/// (`-`) is empty.
pub(crate) type Header<'a> = [&'a [u8]; 5];

impl<'a> Message<'a> {
    /// Parses a datagram without its framing. Only the kernel may log as the kernel: other messages
    /// with that facility count as user, as in journald.
    pub(crate) fn parse(datagram: &'a [u8], is_kernel: bool) -> Self {
        let (priority, rest) = split_priority(datagram).unwrap_or((DEFAULT_PRIORITY, datagram));
        let facility = FACILITIES.get(priority / 8).filter(|_| priority >= 8 || is_kernel);
        let facility = facility.copied().unwrap_or("user");
        let severity = SEVERITIES.get(priority % 8).copied().unwrap_or("notice");
        let has_priority = rest.len() < datagram.len();
        let structured = rest.strip_prefix(b"1 ").filter(|_| has_priority).and_then(structured);
        let (time, header, text) = structured.unwrap_or_else(|| {
            let (time, text) = split_time(rest).map_or((None, rest), |(it, rest)| (Some(it), rest));
            (time, None, text)
        });
        Self { facility, severity, time, header, text }
    }
}

/// Splits off the number between `<` and `>` at the start, which both forms have.
fn split_priority(datagram: &[u8]) -> Option<(usize, &[u8])> {
    let rest = datagram.strip_prefix(b"<")?;
    let len = rest.iter().take(4).position(|&byte| byte == b'>').filter(|&len| len > 0)?;
    let (digits, rest) = rest.split_at_checked(len)?;
    let priority = digits.iter().try_fold(0, |number, digit| {
        digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0'))
    });
    let priority = priority.filter(|&priority| priority < FACILITIES.len() * 8)?;
    Some((priority, rest.get(1..)?))
}

fn split_time(text: &[u8]) -> Option<(Stamp<'_>, &[u8])> {
    let (time, rest) = Time::split(text)?;
    // Without the space in between.
    let written = text.get(..text.len() - rest.len() - 1)?;
    Some(((time, written), rest))
}

type Parts<'a> = (Option<Stamp<'a>>, Option<Header<'a>>, &'a [u8]);

/// Parses what follows the version in RFC 5424.
fn structured(rest: &[u8]) -> Option<Parts<'_>> {
    let (time, rest) = match rest.strip_prefix(b"- ") {
        Some(rest) => (None, rest),
        None => split_time(rest).map(|(time, rest)| (Some(time), rest))?,
    };
    let (host, rest) = split_field(rest)?;
    let (app, rest) = split_field(rest)?;
    let (process, rest) = split_field(rest)?;
    let (id, rest) = split_field(rest)?;
    let (data, rest) = rest.split_at_checked(data_len(rest)?)?;
    // Either nothing follows the data, or a space and text.
    let text = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    Some((time, Some([host, app, process, id, nil_is_empty(data)]), text))
}

fn split_field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = text.iter().position(|byte| !byte.is_ascii_graphic()).filter(|&len| len > 0)?;
    let (field, rest) = text.split_at_checked(len)?;
    Some((nil_is_empty(field), rest.strip_prefix(b" ")?))
}

fn nil_is_empty(field: &[u8]) -> &[u8] {
    if field == b"-" { b"" } else { field }
}

/// Returns the length of structured data: `-`, or consecutive elements in brackets.
fn data_len(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b'-') {
        return Some(1);
    }
    let (mut is_inside, mut is_quoted, mut is_escaped) = (false, false, false);
    for (index, &byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' if is_inside => is_quoted = !is_quoted,
            b'[' if !is_inside => is_inside = true,
            b']' if !is_quoted => is_inside = false,
            _ if !is_inside => return Some(index).filter(|&len| len > 0),
            _ => {}
        }
    }
    Some(text.len()).filter(|&len| len > 0 && !is_inside)
}
