//! What becomes of a datagram.

use std::process::Command;

use ipc_tests::cases::skip;

use crate::daemon::Logd;
use crate::home::{Home, Line};

/// Bytes of the longest message.
const LONGEST: usize = 16 << 10;

/// Sends messages to a daemon of their own and returns their lines.
fn lines_of(messages: &[&[u8]]) -> Vec<Line> {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    for message in messages {
        client.send(message).unwrap();
    }
    logd.stop();
    let lines = home.lines();
    assert_eq!(lines.len(), messages.len(), "{lines:?}");
    lines
}

pub(crate) fn both_forms_become_one_line_that_ends_with_the_text_as_sent() {
    let messages = [
        "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        "<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [e@32473 k=\"v\\\"]\"] \u{feff}An event",
        "no form at all ",
    ];
    let lines = lines_of(&messages.map(str::as_bytes));
    for (line, message) in lines.iter().zip(messages) {
        assert_eq!(line.text, message);
    }
    assert_eq!([&*lines[0].kind, &*lines[1].kind], ["auth.crit", "local4.notice"]);
    assert!(lines.is_sorted_by_key(|line| &line.time), "{lines:?}");
}

pub(crate) fn control_bytes_become_hex_and_all_else_passes() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let all: Vec<u8> = (0..=255).collect();
    let mut expected = Vec::new();
    for &byte in &all {
        match byte {
            0..=31 | 127 => expected.extend(format!("\\x{byte:02x}").bytes()),
            _ => expected.push(byte),
        }
    }
    let words = "größer \u{1f980} C:\\new\\x0a".as_bytes();
    let client = logd.client();
    client.send(&all).unwrap();
    client.send(words).unwrap();
    logd.stop();
    let bytes = home.bytes();
    let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
    assert!(lines[0].ends_with(&expected), "{}", lines[0].escape_ascii());
    assert!(lines[1].ends_with(words), "{}", lines[1].escape_ascii());
    assert_eq!(lines.len(), 3, "two lines and the end of the second");
}

pub(crate) fn an_empty_datagram_is_a_line_without_text() {
    let lines = lines_of(&[b"before", b"", b"after"]);
    assert_eq!((&*lines[1].kind, &*lines[1].text), ("user.notice", ""));
}

pub(crate) fn a_priority_becomes_facility_and_severity() {
    let known = [
        ("<0>x", "kern.emerg"),
        ("<9>x", "user.alert"),
        ("<18>x", "mail.crit"),
        ("<27>x", "daemon.err"),
        ("<36>x", "auth.warning"),
        ("<45>x", "syslog.notice"),
        ("<86>x", "authpriv.info"),
        ("<135>x", "local0.debug"),
        ("<191>x", "local7.debug"),
        ("<14>", "user.info"),
    ];
    let lines = lines_of(&known.map(|(message, _)| message.as_bytes()));
    for (line, (message, kind)) in lines.iter().zip(known) {
        assert_eq!((&*line.text, &*line.kind), (message, kind));
    }
}

pub(crate) fn what_is_no_priority_counts_as_user_notice() {
    let unknown = [
        "<192>x", "<999>x", "<0014>x", "<1234>x", "<>x", "<-1>x", "<+1>x", "<1a>x", "< 1>x", "<14",
        "<", "<14 >x", " <14>x", "14>x", "x<14>",
    ];
    let lines = lines_of(&unknown.map(str::as_bytes));
    for (line, message) in lines.iter().zip(unknown) {
        assert_eq!((&*line.text, &*line.kind), (message, "user.notice"));
    }
}

pub(crate) fn what_is_over_long_is_cut_and_said() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    let message = vec![b'm'; LONGEST + 1000];
    client.send(&message[..LONGEST]).unwrap();
    client.send(&message[..LONGEST + 1]).unwrap();
    client.send(&message).unwrap();
    client.send(b"short").unwrap();
    logd.stop();
    let lens: Vec<usize> = home.texts().iter().map(String::len).collect();
    assert_eq!(lens, [LONGEST, LONGEST, LONGEST, 5]);
    let said = logd.said();
    let expected = [LONGEST + 1, LONGEST + 1000]
        .map(|len| format!("logd: a message of {len} bytes was cut to {LONGEST}\n"));
    assert_eq!(said, expected.concat());
}

pub(crate) fn logger_of_util_linux_works() {
    let version = Command::new("logger").arg("--version").output();
    if !version.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("util-linux")) {
        skip("logger of util-linux is missing", "apt install bsdutils");
    }
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    for form in ["--rfc3164", "--rfc5424"] {
        let status = Command::new("logger")
            .args([form, "--priority", "mail.warning", "--tag", "test", "--socket"])
            .arg(home.socket())
            .args(["--", "hello from logger"])
            .status();
        assert!(status.unwrap().success());
    }
    logd.stop();
    let lines = home.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for line in &lines {
        assert_eq!(line.kind, "mail.warning");
        assert!(line.text.ends_with("hello from logger"), "{line:?}");
    }
    assert!(lines[0].text.starts_with("<20>") && lines[1].text.starts_with("<20>1 "), "{lines:?}");
}
