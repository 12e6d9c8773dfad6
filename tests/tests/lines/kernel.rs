//! Records of `/dev/kmsg`.

use hosted::string::String;

use crate::common::kernel::put_message;
use crate::common::line::{Datagram, Sender};
use crate::inverse::{line_of, put, whole};

/// Returns the line of a record without its time, or `None` if it is not a record.
fn line(record: &str) -> Option<String> {
    let mut is_record = false;
    let message = put(|text| is_record = put_message(text, record.as_bytes()).is_some());
    let line = line_of(&Datagram { sender: Sender::Kernel, ..whole(&message) });
    is_record.then(|| line.split_once(' ').unwrap().1.into())
}

#[test]
fn a_record_becomes_a_line_of_the_kernel_or_of_the_program_that_wrote_it() {
    for (record, expected) in [
        (
            "6,339,5140900,-;NET: Registered\n SUBSYSTEM=net\n",
            "kern.info kernel: [5.140900] NET: Registered",
        ),
        ("3,1,0,c,caller=T1;early", "kern.err kernel: [0.000000] early"),
        ("0,1,86400000001,-;late", "kern.emerg kernel: [86400.000001] late"),
        ("30,1,1,-;systemd[1]: Started\n", "daemon.info systemd[1]: Started"),
        ("4,1,1,-;", "kern.warning kernel: [0.000001] "),
    ] {
        assert_eq!(line(record).as_deref(), Some(expected), "{record}");
    }
}

/// The kernel writes non-ASCII bytes as `\xNN`, and a backslash as `\x5c`.
#[test]
fn what_the_kernel_has_escaped_is_as_it_was_written() {
    for (text, expected) in [
        (r"a\x5cx0ab", r"a\x5cx0ab"),
        (r"bell\x07", r"bell\x07"),
        (r"gr\xc3\xbc\xc3\x9fe", "gr\u{fc}\u{df}e"),
        (r"end\x5c", r"end\"),
        (r"\xg \x", r"\x5cxg \x5cx"),
    ] {
        let line = line(&hosted::format!("14,1,1,-;{text}\n")).unwrap();
        assert_eq!(line, hosted::format!("user.info {expected}"));
    }
}

#[test]
fn what_is_no_record_is_left_out() {
    for record in ["", "6", "6,1,2", "6,1;x", "6,1,x,-;text", "\n6,1,2,-;text"] {
        assert_eq!(line(record), None, "{record:?}");
    }
}
