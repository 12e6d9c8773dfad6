//! What clients really send, and the lines it becomes.

use crate::common::line::{Datagram, Sender};
use crate::inverse::{line_of, said_of, whole};

fn check(cases: &[(&[u8], &str)]) {
    for (sent, said) in cases {
        assert_eq!(said_of(sent), *said, "{}", sent.escape_ascii());
    }
}

#[test]
fn one_lf_and_one_nul_at_the_end_are_framing() {
    check(&[
        // util-linux and glibc; musl; Python; both, in either order.
        (b"<14>hi", "user.info hi"),
        (b"<14>hi\n", "user.info hi"),
        (b"<14>hi\0", "user.info hi"),
        (b"<14>hi\n\0", "user.info hi"),
        (b"<14>hi\0\n", "user.info hi"),
        // The rest is text.
        (b"<14>hi\n\n", r"user.info hi\x0a"),
        (b"<14>hi\0\0", r"user.info hi\x00"),
        (b"<14>hi\n\0\n", r"user.info hi\x0a"),
        (b"<14>hi\r\n", r"user.info hi\x0d"),
        (b"<14>hi \n", "user.info hi "),
        (b"<14>a\0b\nc", r"user.info a\x00b\x0ac"),
        (b"<14>\n", "user.info "),
        (b"\n", "user.notice "),
        (b"\0", "user.notice "),
        (b"", "user.notice "),
    ]);
}

#[test]
fn a_priority_becomes_facility_and_severity() {
    check(&[
        (b"<9>x", "user.alert x"),
        (b"<18>x", "mail.crit x"),
        (b"<27>x", "daemon.err x"),
        (b"<36>x", "auth.warning x"),
        (b"<45>x", "syslog.notice x"),
        (b"<86>x", "authpriv.info x"),
        (b"<135>x", "local0.debug x"),
        (b"<191>x", "local7.debug x"),
        (b"<014>x", "user.info x"),
        (b"<14>", "user.info "),
        (b"<14> x", "user.info  x"),
        (b"<14><15>x", "user.info <15>x"),
    ]);
}

#[test]
fn what_claims_to_be_the_kernel_is_a_user() {
    check(&[
        (b"<0>kernel: Out of memory", "user.emerg kernel: Out of memory"),
        (b"<7>x", "user.debug x"),
        (b"<000>x", "user.emerg x"),
        (b"<6>1 - - kernel - - - x", "user.info kernel: x"),
    ]);
}

#[test]
fn what_is_no_priority_is_text() {
    for sent in [
        "<192>x",
        "<999>x",
        "<0014>x",
        "<1234>x",
        "<>x",
        "<-1>x",
        "<+1>x",
        "<1a>x",
        "< 1>x",
        "<14",
        "<",
        "<1",
        "<14 >x",
        " <14>x",
        "14>x",
        "x<14>",
        "<14\u{b9}>x",
        "67 <13>1 - - - - - - x",
        "1 - - - - - - x",
    ] {
        assert_eq!(said_of(sent.as_bytes()).strip_prefix("user.notice "), Some(sent));
    }
}

#[test]
fn rfc_3164_is_text_without_priority_and_time() {
    check(&[
        (
            b"<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "auth.crit mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        ),
        // glibc's and musl's syslog(), with LOG_PID and without.
        (b"<14>Oct 11 22:14:15 app[77]: x", "user.info app[77]: x"),
        (b"<14>Oct 11 22:14:15 app: x\n", "user.info app: x"),
        // Go's log/syslog, to a server elsewhere.
        (b"<14>2003-10-11T22:14:15Z host app[77]: x\n", "user.info host app[77]: x"),
        // Python's SysLogHandler with a BOM, as it once was.
        (b"<14>\xef\xbb\xbfx\0", "user.info \u{feff}x"),
        // Without a priority.
        (b"Oct 11 22:14:15 app: x", "user.notice app: x"),
        // With another time.
        (b"<14>Jan  1 00:00:00 app: x", "user.info Jan  1 00:00:00 app: x"),
    ]);
}

#[test]
fn rfc_5424_is_put_in_the_order_of_rfc_3164() {
    check(&[
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time.",
            "local4.notice 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc[8710]: %% It's time.",
        ),
        (
            b"<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [e@32473 k=\"v\\\"]\"][f] \xef\xbb\xbfAn event",
            "local4.notice host evntslog: ID47 [e@32473 k=\"v\\\"]\"][f] An event",
        ),
        (b"<14>1 - - app 77 - - x", "user.info app[77]: x"),
        (b"<14>1 - - app - - - x\n\0", "user.info app: x"),
        (b"<14>1 - host - - - - x", "user.info host -: x"),
        (b"<14>1 - - - 77 - - x", "user.info -[77]: x"),
        (b"<14>1 - - - - - - x", "user.info x"),
        (b"<14>1 - - - - - - \xef\xbb\xbf", "user.info "),
        (b"<14>1 - - - - - -", "user.info "),
        (b"<14>1 - - app - - [a]", "user.info app: [a] "),
        (b"<14>1 - - - - - -  x", "user.info  x"),
        (b"<14>1 - - - - - [a b=\"\n\"] \x1b", r#"user.info [a b="\x0a"] \x1b"#),
    ]);
}

#[test]
fn what_is_not_quite_rfc_5424_is_text() {
    for sent in [
        "1 ",
        "1 -",
        "1 - - - - - ",
        "1 - - - - - x",
        "1 - - - - - -x",
        "1 - - - - - [a",
        "1 - - - - - [a] [",
        "1 - - - - - [a b=\"c] x",
        "1 yesterday - - - - - x",
        "1 - h\u{f6}st - - - - x",
        "1 -  - - - - x",
        "2 - - - - - - x",
        "1- - - - - - x",
        "1 - - - - - [a]x",
    ] {
        let said = said_of(["<14>", sent].concat().as_bytes());
        let is_read = sent == "1 - - - - - [a] [";
        assert_eq!(said.strip_prefix("user.info "), Some(if is_read { "[a] [" } else { sent }));
    }
}

#[test]
fn an_escape_is_told_apart_from_the_same_characters_sent() {
    check(&[
        (b"<14>x\ny", r"user.info x\x0ay"),
        (br"<14>x\x0ay", r"user.info x\x5cx0ay"),
        (br"<14>x\x5cx0ay", r"user.info x\x5cx5cx0ay"),
        (br"<14>x\x[7 bytes cut]", r"user.info x\x5cx[7 bytes cut]"),
        // Everything else stays searchable as sent.
        (br#"<14>{"path":"C:\\new\n\"\u00e9"}"#, r#"user.info {"path":"C:\\new\n\"\u00e9"}"#),
        (b"<14>\\\n", r"user.info \"),
        (b"<14>\\\xff", r"user.info \\xff"),
        (b"<14>\\\x01x", r"user.info \\x01x"),
    ]);
}

#[test]
fn what_drives_a_terminal_or_hides_text_is_escaped() {
    check(&[
        (b"<14>a\tb", "user.info a\tb"),
        (b"<14>\x1b]0;x\x07", r"user.info \x1b]0;x\x07"),
        (b"<14>\x9b2J", r"user.info \x9b2J"),
        ("<14>\u{9b}2J".as_bytes(), r"user.info \xc2\x9b2J"),
        ("<14>a\u{2028}b\u{85}c".as_bytes(), r"user.info a\xe2\x80\xa8b\xc2\x85c"),
        ("<14>a\u{202e}b\u{2066}c".as_bytes(), r"user.info a\xe2\x80\xaeb\xe2\x81\xa6c"),
        ("<14>a\u{200f}b".as_bytes(), "user.info a\u{200f}b"),
        // Latin-1.
        (b"<14>gr\xf6\xdfer", r"user.info gr\xf6\xdfer"),
        // A surrogate, and a slash in two bytes.
        (b"<14>\xed\xa0\x80\xc0\xaf", r"user.info \xed\xa0\x80\xc0\xaf"),
    ]);
}

#[test]
fn a_sender_is_before_the_text_which_cannot_replace_it() {
    let sender = Sender::Process([77, 1000, 100]);
    let line = line_of(&Datagram { sender, ..whole(b"<14>pid=1,uid=0,gid=0 app: x") });
    assert!(
        line.ends_with(" user.info pid=77,uid=1000,gid=100 pid=1,uid=0,gid=0 app: x"),
        "{line}"
    );
}
