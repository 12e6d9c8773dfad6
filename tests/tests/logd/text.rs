//! From datagrams to lines.

use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::SystemTime;

use ipc_tests::cases::skip;
use ipc_tests::deep;
use ipc_tests::random::Random;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{getgid, getuid};

use crate::check::check;
use crate::daemon::{Logd, longest};
use crate::home::{Home, Line, eventually};

/// Sends messages to a new daemon and returns their lines.
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

/// The suite `lines` covers all kinds of text; this is a whole daemon.
pub(crate) fn both_forms_become_one_line_that_ends_with_the_text_as_sent() {
    let messages = [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8\n",
            "auth.crit Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
        ),
        (
            "<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [e@32473 k=\"v\\\"]\"] \u{feff}x\0",
            "local4.notice 2003-10-11T22:14:15.003Z host evntslog: ID47 [e@32473 k=\"v\\\"]\"] x",
        ),
        ("no form at all ", "user.notice no form at all "),
        ("<0>kernel: x", "user.emerg kernel: x"),
        ("", "user.notice "),
        ("\u{1b}[2J\u{9b}\t\\x0a\u{2028}", r"user.notice \x1b[2J\xc2\x9b	\x5cx0a\xe2\x80\xa8"),
    ];
    let lines = lines_of(&messages.map(|(sent, _)| sent.as_bytes()));
    for (line, (_, said)) in lines.iter().zip(messages) {
        assert_eq!(format!("{} {}", line.kind, line.text), said);
    }
    assert!(lines.is_sorted_by_key(|line| &line.time), "{lines:?}");
}

pub(crate) fn a_time_of_now_is_written_once() {
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let sent = format!("<14>1 {now} - app - - - text");
    assert_eq!(lines_of(&[sent.as_bytes()])[0].text, "app: text");
}

pub(crate) fn what_is_over_long_is_cut_between_characters_and_its_line_says_so() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    let message = "\u{20ac}".repeat(40_000);
    for len in [longest() / 3 * 3, longest() + 1, longest() + 1000, 65_536, 100_000] {
        client.send(&message.as_bytes()[..len]).unwrap();
    }
    client.send(b"short").unwrap();
    logd.stop();
    let kept = longest() / 3;
    let mut expected = vec!["\u{20ac}".repeat(kept)];
    for len in [longest() + 1, longest() + 1000, 65_536, 100_000] {
        expected.push(format!(r"{}\x[{} bytes cut]", "\u{20ac}".repeat(kept), len - kept * 3));
    }
    expected.push("short".to_owned());
    assert_eq!(home.texts(), expected);
    assert_eq!(logd.said(), "");
}

pub(crate) fn the_longest_line_finds_room_in_a_file_and_in_a_request() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--trusted"]);
    let message = vec![0xff; longest() + 5];
    for _ in 0..50 {
        logd.client().send(&message).unwrap();
    }
    let end = logd.stop();
    end.expect(["written", "lost"], [50, 0]);
    let text = format!(r"{}\x[5 bytes cut]", r"\xff".repeat(longest()));
    assert!(home.texts().iter().all(|line| line.ends_with(&format!(" {text}"))));
}

pub(crate) fn random_datagrams_leave_lines_that_check_calls_whole() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "200000", "--keep", "100000"]);
    let client = logd.client();
    let mut random = Random::new();
    let count = deep::or(2_000, 200_000);
    for _ in 0..count {
        let limit = if random.one_in(50) { 20_000 } else { 100 };
        let len = random.below(limit);
        let mut message: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[3]).collect();
        if random.one_in(2) {
            message.splice(..0, *b"<14>1 - - app - - - ");
        }
        client.send(&message).unwrap();
    }
    let end = logd.stop();
    end.expect(["written"], [u64::try_from(count).unwrap()]);
    assert_eq!(home.lines().len(), count);
    assert_eq!(check(&home).0, Some(0));
}

pub(crate) fn trusted_names_the_sender_whatever_it_says() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--trusted"]);
    logd.client().send(b"<14>pid=1,uid=0,gid=0 app: x").unwrap();
    let script = "
import os, socket, sys
try: os.setgid(12345)
except OSError: pass
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.connect(sys.argv[1])
client.send(b'')
print(end='pid=%d,uid=%d,gid=%d ' % (os.getpid(), os.getuid(), os.getgid()))";
    let other = Command::new("python3").args(["-c", script]).arg(home.socket()).output();
    logd.stop();
    let ids = format!("uid={},gid={}", getuid().as_raw(), getgid().as_raw());
    let mut expected = vec![format!("pid={},{ids} pid=1,uid=0,gid=0 app: x", std::process::id())];
    match other {
        Ok(other) if other.status.success() => {
            expected.push(String::from_utf8(other.stdout).unwrap());
        }
        _ => println!("left out: the datagram of another process, since python3 is missing"),
    }
    assert_eq!(home.texts(), expected);
}

/// A client that sends them would otherwise fill the daemon's table.
pub(crate) fn descriptors_that_clients_send_are_dropped() {
    for arguments in [&[][..], &["--trusted"]] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        let count = || {
            let path = ipc_tests::around::proc(&format!("{}/fd", logd.pid().as_raw_nonzero()));
            fs::read_dir(path).unwrap().count()
        };
        let client = logd.client();
        client.send(b"first").unwrap();
        home.await_lines(1);
        let before = count();
        let fds = [client.as_fd(); 253];
        for len in [1, 3, 4, 253] {
            for message in [&b"<14>x"[..], b""] {
                let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds[..len])));
                let slices = [IoSlice::new(message)];
                sendmsg(&client, &slices, &mut control, SendFlags::empty()).unwrap();
            }
        }
        client.send(b"last").unwrap();
        home.await_lines(10);
        assert_eq!(count(), before, "{arguments:?}");
        logd.stop();
    }
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
    for (line, kind) in lines.iter().zip([" test: hello", " test: [timeQuality "]) {
        assert!(line.text.contains(kind) && !line.text.contains("<20>"), "{lines:?}");
    }
}

/// A message that a program writes to the kernel's log has another form, and is converted back.
pub(crate) fn messages_of_the_kernel_are_logged_if_that_is_asked_for() {
    let Ok(mut kmsg) = fs::OpenOptions::new().read(true).write(true).open("/dev/kmsg") else {
        skip("/dev/kmsg", "run as root");
    };
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--kernel"]);
    let token = format!("ipc-tests[{}]: gr\u{fc}\u{df}e \\ \\x41", std::process::id());
    kmsg.write_all(format!("<30>{token}\n").as_bytes()).unwrap();
    let is_there = || home.bytes().windows(9).any(|part| part == b"ipc-tests");
    eventually("the line", || is_there().then_some(()));
    logd.stop();
    let lines = home.lines();
    let line = lines.iter().find(|line| line.text.starts_with("ipc-tests")).unwrap();
    let expected = token.replace(r"\x", r"\x5cx");
    assert_eq!((&*line.kind, &*line.text), ("daemon.info", &*expected));
}
