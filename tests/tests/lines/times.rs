//! Times, compared with another library's.

use core::time::Duration;
use hosted::format;
use hosted::string::String;
use hosted::time::SystemTime;

use ipc_tests::deep;
use ipc_tests::random::Random;

use crate::common::date::{self, Time};
use crate::inverse::{put, said_of};

const YEAR_10000: u64 = 253_402_300_800;

fn written(time: Duration) -> String {
    String::from_utf8(put(|text| date::put(text, time))).unwrap()
}

fn expected(time: Duration) -> String {
    format!("{}", humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + time))
}

#[test]
fn a_million_times_are_written_as_humantime_writes_them() {
    let mut random = Random::new();
    let edges = (0..YEAR_10000 / 86_400).flat_map(|day| [day * 86_400, day * 86_400 + 86_399]);
    let every = deep::or(29, 1);
    for second in edges.step_by(every) {
        let time = Duration::new(second, 999_999_999);
        assert_eq!(written(time), expected(time));
    }
    for _ in 0..deep::or(50_000, 1_000_000) {
        let nanos = u32::try_from(random.below(1_000_000_000)).unwrap();
        let time = Duration::new(random.next() % YEAR_10000, nanos);
        let text = written(time);
        assert_eq!(text, expected(time));
        let sent = format!("{text} x");
        let second = i64::try_from(time.as_secs()).unwrap();
        let read = Time::split(sent.as_bytes());
        assert_eq!(read, Some((Time::Exact(second), &b"x"[..])), "{text}");
    }
}

#[test]
fn a_time_that_four_digits_cannot_say_is_the_last_that_they_can() {
    for second in [YEAR_10000, u64::MAX] {
        assert_eq!(written(Duration::new(second, 5_000)), "9999-12-31T23:59:59.000005Z");
    }
}

#[test]
fn a_clients_time_that_is_that_of_receipt_in_some_zone_goes() {
    let near = [
        "Oct 11 22:14:15",
        "Oct 11 22:14:13",
        "Oct 11 22:14:17",
        "Oct 12 00:14:15",
        "Oct 12 12:14:15",
        "Oct 11 08:14:15",
        "Oct 12 03:44:15",
        "Oct 12 03:59:15",
        "2003-10-11T22:14:15Z",
        "2003-10-11T22:14:15.003000Z",
        "2003-10-11T22:14:13.9Z",
        "2003-10-12T00:14:17+02:00",
        "2003-10-11T18:44:15.1-03:30",
    ];
    for time in near {
        assert_eq!(said_of(format!("<14>{time} app: x").as_bytes()), "user.info app: x", "{time}");
    }
}

#[test]
fn a_clients_time_that_says_more_stays_as_it_was_sent() {
    let far = [
        "Oct 11 22:14:18",
        "Oct 11 22:14:12",
        "Oct 11 22:15:15",
        "Oct 11 07:59:15",
        "Oct 12 12:29:15",
        "Oct 10 22:14:15",
        "Nov 11 22:14:15",
        "Feb  3 04:05:06",
        "2003-10-11T22:14:18Z",
        "2004-10-11T22:14:15Z",
        "2003-10-11T22:14:15+02:00",
    ];
    for time in far {
        let said = said_of(format!("<14>{time} app: x").as_bytes());
        assert_eq!(said, format!("user.info {time} app: x"));
    }
}

#[test]
fn around_new_year_every_zone_is_near() {
    let midnight = Duration::from_secs(1_072_915_200);
    for (time, is_near) in [
        ("Jan  1 00:00:00 ", true),
        ("Jan 01 14:00:00 ", true),
        ("Dec 31 10:00:00 ", true),
        ("Dec 31 09:45:00 ", false),
        ("Jan  1 14:15:00 ", false),
        ("Jul  1 00:00:00 ", false),
    ] {
        let (read, _) = Time::split(time.as_bytes()).unwrap();
        assert_eq!(read.is_near(midnight), is_near, "{time}");
        // A device without a battery-backed clock starts at zero.
        _ = read.is_near(Duration::ZERO);
        _ = read.is_near(Duration::MAX);
    }
    let (last, _) = Time::split(b"Dec 31 23:59:59 ").unwrap();
    assert!(last.is_near(midnight) && last.is_near(Duration::ZERO));
}

#[test]
fn what_is_no_time_stays_text() {
    let wrong = [
        "Oct 11 22:14:15",
        "Oct 11 24:14:15 ",
        "Oct 11 22:60:15 ",
        "Oct 11 22:14:61 ",
        "Oct 32 22:14:15 ",
        "oct 11 22:14:15 ",
        "Okt 11 22:14:15 ",
        "Oct  11 22:14:15 ",
        "Oct 11  22:14:15 ",
        "Oct 11 22:14:15: ",
        "Oct 1",
        "Oct",
        "O",
        "",
        "2003-10-11 22:14:15Z ",
        "2003-10-11T22:14:15 ",
        "2003-10-11T22:14:15.Z ",
        "2003-13-11T22:14:15Z ",
        "2003-10-11T22:14:15+2:00 ",
        "03-10-11T22:14:15Z ",
        "2003-10-11T22:14:15+24:00 ",
        "2003-10-11T22:14:15Zx ",
    ];
    for text in wrong {
        assert_eq!(Time::split(text.as_bytes()), None, "{text}");
        assert_eq!(said_of(format!("<14>{text}x").as_bytes()), format!("user.info {text}x"));
    }
}
