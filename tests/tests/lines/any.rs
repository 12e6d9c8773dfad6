//! Laws that hold for any bytes, from any sender, cut anywhere.

use core::ops::RangeInclusive;
use core::time::Duration;
use hosted::format;
use hosted::string::String;
use hosted::vec::Vec;

use ipc_tests::deep;
use ipc_tests::random::Random;

use crate::common::line::{Datagram, Sender};
use crate::inverse::{NOW, line_of, put, said_of, unescape, whole};
use crate::program::MESSAGE;

/// The pieces of random datagrams: headers and their halves, framing, escapes and lookalikes,
/// characters that need care.
const PIECES: [&[u8]; 44] = [
    b"<14>",
    b"<0>",
    b"<191>",
    b"<192>",
    b"<",
    b">",
    b"1 ",
    b"- ",
    b"-",
    b" ",
    b"Oct 11 22:14:15 ",
    b"Feb  3 04:05:06 ",
    b"2003-10-11T22:14:15.003Z ",
    b"2020-01-01T00:00:00+01:00 ",
    b"host ",
    b"app[77]: ",
    b"[a b=\"c\"]",
    b"[a b=\"\\]\\\"\"] ",
    b"[",
    b"]",
    b"\"",
    b"\n",
    b"\0",
    b"\r",
    b"\t",
    b"\\",
    b"x",
    b"\\x",
    b"\\x0a",
    b"\\x[7 bytes cut]",
    b"5cx",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    b"\x7f",
    b"\x9b",
    b"\xc2\x85",
    b"\xc2",
    b"\xe2\x80\xa8",
    b"\xe2\x80",
    b"\xf0\x9f\xa6\x80",
    b"\xf0\x9f\xa6",
    b"\xed\xa0\x80",
    "größer".as_bytes(),
    b"text",
];

fn random_bytes(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    let style = random.below(3);
    for _ in 0..random.below(24) {
        match style {
            0 => bytes.push(u8::try_from(random.below(256)).unwrap()),
            1 => bytes.extend(PIECES[random.below(PIECES.len())]),
            _ if random.one_in(4) => bytes.push(u8::try_from(random.below(256)).unwrap()),
            _ => bytes.extend(PIECES[random.below(PIECES.len())]),
        }
    }
    bytes
}

/// Removes what the line has elsewhere or omits: the priority and a near time.
fn text_of(bytes: &[u8]) -> &[u8] {
    let is_priority = |digits: &[u8]| {
        let digits = core::str::from_utf8(digits).unwrap_or("");
        let are_digits = digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() <= 3;
        are_digits && digits.parse::<u16>().is_ok_and(|number| number < 192)
    };
    let rest = bytes
        .strip_prefix(b"<")
        .and_then(|rest| rest.split_at_checked(rest.iter().position(|&byte| byte == b'>')?))
        .filter(|(digits, _)| is_priority(digits))
        .map_or(bytes, |(_, rest)| &rest[1..]);
    let near: [&[u8]; 2] = [b"Oct 11 22:14:15 ", b"2003-10-11T22:14:15.003Z "];
    near.into_iter().find_map(|time| rest.strip_prefix(time)).unwrap_or(rest)
}

fn without_framing(bytes: &[u8]) -> &[u8] {
    let [lf, nul] = [b"\n", b"\0"].map(|end| bytes.strip_suffix(end));
    match (lf, nul) {
        (Some(rest), _) => rest.strip_suffix(b"\0").unwrap_or(rest),
        (_, Some(rest)) => rest.strip_suffix(b"\n").unwrap_or(rest),
        _ => bytes,
    }
}

/// Returns whether this may be an RFC 5424 message, whose parts are reordered.
fn may_be_structured(bytes: &[u8]) -> bool {
    bytes.starts_with(b"<") && bytes.windows(3).any(|part| part == b">1 ")
}

/// Checks the line of a datagram, which may have been truncated.
fn check(bytes: &[u8], missing: u64, sender: Sender) {
    let line = line_of(&Datagram { received: NOW, sender, bytes, missing });
    let mut words = line.splitn(3, ' ');
    assert_eq!(words.next(), Some("2003-10-11T22:14:15.003000Z"));
    let kind = words.next().unwrap();
    let facility = kind.split_once('.').unwrap().0;
    assert!(facility != "kern" || sender == Sender::Kernel, "{line:?}");
    let mut text = words.next().unwrap();
    if let Sender::Process([pid, uid, gid]) = sender {
        text = text.strip_prefix(&*format!("pid={pid},uid={uid},gid={gid} ")).unwrap();
    }
    let datagram = Datagram { received: NOW, sender, bytes, missing };
    let again = put(|text| datagram.put_text(text));
    assert_eq!(again, text.as_bytes(), "the name of a message is its text");
    let (sent, said_missing) = unescape(text);
    if may_be_structured(bytes) {
        return;
    }
    if missing == 0 {
        assert_eq!(sent, text_of(without_framing(bytes)), "{line:?}");
        assert_eq!(said_missing, 0);
    } else {
        let more = usize::try_from(said_missing - missing).unwrap();
        let kept = bytes.len() - more;
        assert!(more < 4 && sent == text_of(&bytes[..kept]), "{line:?}");
    }
}

#[test]
fn any_bytes_become_one_whole_line_that_can_be_taken_back() {
    let mut random = Random::new();
    for _ in 0..deep::or(50_000, 10_000_000) {
        let bytes = random_bytes(&mut random);
        let ids = [(); 3].map(|()| u32::try_from(random.next() >> 32).unwrap());
        let sender = match random.below(3) {
            0 => Sender::Unnamed,
            1 => Sender::Kernel,
            _ => Sender::Process(ids),
        };
        let cut = if random.one_in(2) { random.below(bytes.len() + 1) } else { bytes.len() };
        check(&bytes[..cut], u64::try_from(bytes.len() - cut).unwrap(), sender);
    }
}

#[test]
fn any_header_of_rfc_5424_loses_nothing_but_what_is_nil() {
    let mut random = Random::new();
    for _ in 0..deep::or(5_000, 1_000_000) {
        let mut word = |others: [&'static str; 4]| {
            if random.one_in(2) { "-" } else { others[random.below(4)] }
        };
        let time = word([
            "2003-10-11T22:14:15Z",
            "2003-10-11T22:14:15.003Z",
            "2003-10-11T22:14:18Z",
            "2003-10-11T22:14:15-01:00",
        ]);
        let host = word(["host", "::1", "\\", "--"]);
        let [app, process] = [(); 2].map(|()| word(["app", "[", "x]:", "\\x0a"]));
        let id = word(["ID47", "1", "[a]", "-:"]);
        let data = word(["[a]", "[a b=\"c ]\"][d]", "[a b=\"\\\"]\"]", "[\u{9b} ]"]);
        let text = random_bytes(&mut random);
        let mut text = text.as_slice();
        while let Some(rest) = text.strip_prefix(b"\xef\xbb\xbf") {
            text = rest;
        }
        let bom: &[u8] = if random.one_in(2) { b"\xef\xbb\xbf" } else { b"" };
        let head = format!("<190>1 {time} {host} {app} {process} {id} {data} ");
        let said = said_of(&[head.as_bytes(), bom, text].concat());
        let field = |field: &str| if field == "-" { String::new() } else { format!("{field} ") };
        let kept =
            if time.starts_with("2003-10-11T22:14:15") && time.ends_with('Z') { "-" } else { time };
        let process = if process == "-" { String::new() } else { format!("[{process}]") };
        let has_tag = [host, app].iter().any(|&field| field != "-") || !process.is_empty();
        let tag = if has_tag { format!("{app}{process}: ") } else { String::new() };
        let expected = [field(kept), field(host), tag, field(id), field(data)].concat();
        let (sent, _) = unescape(said.strip_prefix("local7.info ").unwrap());
        assert_eq!(sent, [expected.as_bytes(), without_framing(text)].concat(), "{said:?}");
    }
}

#[test]
fn different_texts_become_different_lines() {
    let mut random = Random::new();
    for _ in 0..deep::or(5_000, 1_000_000) {
        let [one, other] = [(); 2].map(|()| {
            let mut bytes = b"=".to_vec();
            bytes.extend((0..random.below(5)).flat_map(|_| PIECES[21 + random.below(20)]));
            bytes
        });
        let is_same = without_framing(&one) == without_framing(&other);
        assert_eq!(said_of(&one) == said_of(&other), is_same, "{one:?} {other:?}");
    }
}

#[test]
fn a_cut_at_any_byte_is_between_characters_and_says_how_much_is_missing() {
    let text =
        "a größer \u{1f980}\u{20ac}\t\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff} z\n".as_bytes();
    for len in 0..text.len() {
        let missing = u64::try_from(text.len() - len).unwrap();
        check(&text[..len], missing, Sender::Unnamed);
        let line = line_of(&Datagram { missing, ..whole(&text[..len]) });
        let (text, end) = line.rsplit_once(r"\x[").unwrap();
        assert!(!text.contains(r"\x"), "{line}");
        assert!(end.ends_with(" bytes cut]"), "{line}");
    }
}

#[test]
fn a_cut_amid_bytes_that_begin_no_character_keeps_them() {
    for (bytes, end) in [
        (&b"a\xff"[..], r"a\xff\x[5 bytes cut]"),
        (b"a\x80\x80\x80\x80", r"a\x80\x80\x80\x80\x[5 bytes cut]"),
        (b"a\xf0\x9f\xa6", r"a\x[8 bytes cut]"),
        (b"a\xc0", r"a\xc0\x[5 bytes cut]"),
        (b"a\xed\xa0", r"a\xed\xa0\x[5 bytes cut]"),
        (b"\xe2", r"\x[6 bytes cut]"),
        (b"a\n", r"a\x0a\x[5 bytes cut]"),
        (b"", r"\x[5 bytes cut]"),
    ] {
        let line = line_of(&Datagram { missing: 5, ..whole(bytes) });
        assert_eq!(line.splitn(3, ' ').last(), Some(end));
    }
    let most = line_of(&Datagram { missing: u64::MAX, ..whole(b"a\xe2") });
    assert!(most.ends_with(r"a\x[18446744073709551615 bytes cut]"), "{most}");
}

#[test]
fn every_character_that_is_escaped_is_one_that_hides_or_drives() {
    let unfit: [RangeInclusive<char>; 5] = [
        '\0'..='\u{8}',
        '\n'..='\u{1f}',
        '\u{7f}'..='\u{9f}',
        '\u{2028}'..='\u{202e}',
        '\u{2066}'..='\u{2069}',
    ];
    for char in '\0'..=if deep::is_asked_for() { char::MAX } else { '\u{ffff}' } {
        let sent = format!("a{char}b");
        let said = said_of(sent.as_bytes());
        let text = said.strip_prefix("user.notice ").unwrap();
        if unfit.iter().any(|range| range.contains(&char)) {
            let hex: String =
                char.encode_utf8(&mut [0; 4]).bytes().map(|it| format!("\\x{it:02x}")).collect();
            assert_eq!(text, format!("a{hex}b"));
        } else {
            assert_eq!(text, sent);
        }
    }
}

#[test]
fn the_longest_line_has_every_byte_escaped() {
    let bytes = [0xff; MESSAGE];
    let datagram = Datagram {
        received: Duration::MAX,
        sender: Sender::Process([u32::MAX; 3]),
        bytes: &bytes,
        missing: u64::MAX,
    };
    let len = line_of(&datagram).len() + 1;
    let bound = Datagram::longest_line(MESSAGE);
    // This kind is shorter than the longest one.
    assert_eq!(len, bound - "authpriv.warning".len() + "user.notice".len());
}
