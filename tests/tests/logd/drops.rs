//! Policies for full disks: what waits, what is dropped, and what is counted.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, prlimit, setrlimit};

use crate::daemon::Logd;
use crate::full::{Small, send_too_much, text};
use crate::home::{Home, eventually};
use crate::tracer::Tracer;

/// SIGXFSZ killed the worker at each line, until the messages were lost.
pub(crate) fn repro_a_limit_on_the_size_of_files_is_a_reason_to_rotate() {
    limit_files(5000);
    for arguments in [&[][..], &["--inline"]] {
        let home = Home::new();
        let mut logd = Logd::start(&home, arguments);
        let client = logd.client();
        for number in 0..4 {
            client.send(text(number).as_bytes()).unwrap();
        }
        let end = logd.stop();
        end.expect(["written", "deaths"], [4, 0]);
        assert!(home.texts().into_iter().eq((0..4).map(text)), "once and in order");
        assert_eq!(home.numbers(), [3, 2, 1, 0]);
        assert!(logd.said().starts_with("logd: rotated early"), "{}", logd.said());
        assert!(logd.said().contains("EFBIG (27)"), "{}", logd.said());
        assert_eq!(logd.said().lines().count(), 1, "{}", logd.said());
    }
}

/// Rotating would not help, and each new file would cost an older one.
pub(crate) fn a_line_over_the_limit_on_files_rotates_nothing() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--when-full", "drop-oldest"]);
    // Only for the worker: main writes its figures to a file.
    prlimit(logd.worker(), Resource::Fsize, limit(1000)).unwrap();
    let client = logd.client();
    for number in 0..10 {
        client.send(text(number).as_bytes()).unwrap();
        client.send(format!("short {number}").as_bytes()).unwrap();
    }
    let end = logd.stop();
    end.expect(["written", "dropped"], [10, 10]);
    let texts = home.texts();
    for number in 0..10 {
        assert!(texts.contains(&format!("short {number}")), "{texts:?}");
    }
}

fn limit_files(bytes: u64) {
    // For this case's process and all processes that it starts.
    setrlimit(Resource::Fsize, limit(bytes)).unwrap();
}

fn limit(bytes: u64) -> Rlimit {
    Rlimit { current: Some(bytes), maximum: None }
}

/// Returns the texts of the daemon's own lines.
fn own_words(small: &Small) -> Vec<String> {
    let own = small.home.lines().into_iter().filter(|line| line.kind == "syslog.warning");
    own.map(|line| line.text[line.text.find("logd: ").unwrap()..].to_owned()).collect()
}

/// Returns how many lines there are. Half of another line may be there for a moment.
fn written(small: &Small) -> usize {
    small.home.bytes().iter().filter(|&&byte| byte == b'\n').count()
}

/// Returns whether a line ends with this text.
fn has(small: &Small, text: &str) -> bool {
    String::from_utf8_lossy(&small.home.bytes()).contains(&format!("{text}\n"))
}

/// Waits until the messages of 15 that do not fit are dropped, and returns how many there are.
fn await_dropped(small: &Small, logd: &Logd<'_>) -> usize {
    let before = eventually("all to be dropped", || {
        let dropped = logd.figures("second").last()?.number("dropped");
        let before = written(small);
        (usize::try_from(dropped).unwrap() + before == 15).then_some(before)
    });
    assert!((1..15).contains(&before), "{before}");
    before
}

pub(crate) fn drop_new_counts_in_the_log_what_was_dropped() {
    for arguments in [&["--when-full", "drop-new"][..], &["--when-full", "drop-new", "--inline"]] {
        let small = Small::new();
        let mut logd = Logd::start(&small.home, arguments);
        send_too_much(&small, &logd, 15);
        let client = logd.client();
        let before = await_dropped(&small, &logd);
        small.free();
        client.send(text(15).as_bytes()).unwrap();
        small.home.await_lines(before + 2);
        client.send(text(16).as_bytes()).unwrap();
        let end = logd.stop();
        let dropped = 15 - before;
        assert_eq!(
            own_words(&small),
            [format!("logd: {dropped} messages dropped: no room (ENOSPC)")]
        );
        let messages: Vec<String> =
            small.home.texts().into_iter().filter(|text| text.starts_with("message")).collect();
        assert!(messages.into_iter().eq((0..before).chain([15, 16]).map(text)));
        let counts = ["received", "written", "dropped", "lost", "refused"];
        let dropped = u64::try_from(dropped).unwrap();
        end.expect(counts, [17, 17 - dropped, dropped, 0, 0]);
        assert_eq!(logd.said_count("the disk is full: ENOSPC (28); dropping messages"), 1);
        assert_eq!(logd.said_count("there is room on the disk again"), 1);
        assert_eq!(logd.said().lines().count(), 2, "{}", logd.said());
    }
}

pub(crate) fn drop_oldest_removes_the_oldest_file_and_then_drops() {
    let small = Small::new();
    let arguments = ["--when-full", "drop-oldest", "--rotate-bytes", "8000", "--keep", "100"];
    let mut logd = Logd::start(&small.home, &arguments);
    let client = logd.client();
    for number in 0..10 {
        client.send(text(number).as_bytes()).unwrap();
    }
    small.home.await_lines(10);
    let numbers = small.home.numbers();
    assert_eq!(numbers, [4, 3, 2, 1, 0]);
    let others = ["log.07", "log.8.gz", "log.old"].map(|name| small.home.dir().join(name));
    others.iter().for_each(|path| drop(File::create(path).unwrap()));
    small.fill(0);
    client.send(text(10).as_bytes()).unwrap();
    eventually("the oldest file to go", || has(&small, &text(10)).then_some(()));
    assert!(!small.home.texts().contains(&text(0)), "the oldest is gone");
    assert!(small.home.texts().contains(&text(4)), "and only the oldest");
    // Other files use up the room it freed, again and again, until no older log is left.
    for number in 11.. {
        let mut ballast = OpenOptions::new().append(true).open(small.ballast()).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        client.send(text(number).as_bytes()).unwrap();
        if logd.said_count("dropping messages") > 0 {
            break;
        }
        assert!(number < 1000);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!((1..20).all(|number| !small.home.log(number).exists()), "{:?}", small.home.numbers());
    assert!(others.iter().all(|path| path.exists()), "a file that is not the daemon's is gone");
    small.free();
    client.send(b"the last").unwrap();
    eventually("room", || has(&small, "the last").then_some(()));
    let end = logd.stop();
    assert!(end.figures.as_ref().is_none_or(|figures| figures.number("dropped") > 0));
    end.expect(["lost", "refused"], [0, 0]);
    let words = own_words(&small);
    assert!(words.last().unwrap().contains("dropped: no room (ENOSPC)"), "{words:?}");
}

pub(crate) fn a_worker_that_is_killed_while_it_drops_tells_the_next() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &["--when-full", "drop-new"]);
    send_too_much(&small, &logd, 15);
    let before = u64::try_from(await_dropped(&small, &logd)).unwrap();
    logd.replace_worker();
    small.free();
    logd.client().send(b"the last").unwrap();
    let end = logd.stop();
    end.expect(["dropped"], [15 - before]);
    let count = 15 - before;
    assert_eq!(own_words(&small), [format!("logd: {count} messages dropped: no room (ENOSPC)")]);
}

pub(crate) fn what_was_dropped_and_not_counted_is_said_at_the_end() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &["--when-full", "drop-new"]);
    // No room even for the line with the count.
    small.fill(0);
    logd.send(|number| text(number as usize), 15);
    logd.await_said("the disk is full");
    logd.signal(Signal::TERM);
    assert_eq!(logd.await_end().code(), Some(1), "not all is written");
    let end = logd.figures("end").pop().unwrap();
    assert_eq!(end.number("written") + end.number("dropped"), 15);
    let words = format!("dropped and not counted in the log: {}, ENOSPC", end.number("dropped"));
    assert_eq!(logd.said_count(&words), 1, "{}", logd.said());
    assert!(
        fs::symlink_metadata(small.home.dir().join("running")).is_ok(),
        "it is not a clean end either"
    );
}

pub(crate) fn quota_is_a_full_disk_and_other_trouble_drops_after_a_while() {
    Tracer::require();
    for (error, what) in [("EDQUOT", "no room"), ("EIO", "not writable")] {
        let home = Home::new();
        let mut logd = Logd::start(&home, &["--when-full", "drop-new"]);
        let client = logd.client();
        let inject = ["trace=write".to_owned(), format!("inject=write:error={error}")];
        let inject = inject.each_ref().map(String::as_str);
        let tracer = Tracer::attach(&home, logd.worker().unwrap(), &inject);
        for number in 0..5 {
            client.send(text(number).as_bytes()).unwrap();
        }
        eventually("all to be dropped", || {
            (logd.figures("second").last()?.number("dropped") == 5).then_some(())
        });
        drop(tracer);
        client.send(b"the last").unwrap();
        logd.stop();
        let texts = home.texts();
        let own = format!("logd: 5 messages dropped: {what} ({error})");
        assert!(
            texts.len() == 2 && texts[0].ends_with(&own) && texts[1] == "the last",
            "{texts:?}"
        );
    }
}

/// The worker kept waiting on the old disk, with the signal behind the waiting line.
pub(crate) fn repro_a_worker_that_waits_goes_on_to_another_disk() {
    let small = Small::new();
    let mut logd = Logd::start(&small.home, &[]);
    send_too_much(&small, &logd, 8);
    let before = written(&small);
    assert!(before < 8);
    assert!(small.mount("size=128k"));
    logd.signal(Signal::HUP);
    small.home.await_lines(8 - before);
    logd.stop();
    assert!(small.home.texts().into_iter().eq((before..8).map(text)));
}

/// On a disk without room for a single file the worker did not start at all.
pub(crate) fn repro_a_disk_without_room_for_a_file_is_a_full_one() {
    // For the directory itself and two files: the lock needs one too.
    let small = Small::with("size=128k,nr_inodes=3");
    fs::write(small.home.log(3), "").unwrap();
    fs::write(small.home.log(4), "").unwrap();
    let mut logd = Logd::start(&small.home, &["--when-full", "drop-oldest"]);
    logd.client().send(b"the first").unwrap();
    small.home.await_lines(2);
    let end = logd.stop();
    end.expect(["written"], [1]);
    assert_eq!(small.home.numbers(), [0]);
    let texts = small.home.texts();
    assert!(texts[0].ends_with("logd: 2 older files removed: no room (ENOSPC)"), "{texts:?}");
    assert_eq!(texts[1], "the first");
}

/// Only sixteen notes fit while main is away. The others were refused, and the log counted twice.
pub(crate) fn repro_what_is_dropped_while_main_is_away_is_counted_once() {
    limit_files(3000);
    let home = Home::new();
    let options = ["--when-full", "drop-new", "--rotate-bytes", "100000000", "--keep", "10000"];
    let mut logd = Logd::start(&home, &options);
    logd.signal_worker(Signal::STOP);
    let client = logd.client();
    for number in 0..60 {
        // Once escaped it is over the limit.
        client.send(&[1; 760]).unwrap();
        client.send(format!("small {number}").as_bytes()).unwrap();
    }
    eventually("all to be taken", || {
        (logd.figures("second").pop()?.number("received") == 120).then_some(())
    });
    logd.signal(Signal::STOP);
    logd.signal_worker(Signal::CONT);
    // Half of a line that does not fit may be there for a moment.
    let lines = || home.bytes().iter().filter(|&&byte| byte == b'\n').count();
    eventually("the lines", || (lines() == 120).then_some(()));
    logd.signal(Signal::CONT);
    let end = logd.stop();
    end.expect(["dropped", "written"], [60, 60]);
    assert_eq!(logd.said_count("not counted"), 0, "{}", logd.said());
}

/// By then there was room, but the log never reported them.
pub(crate) fn repro_what_was_dropped_is_counted_at_the_end_if_there_is_room() {
    for kill in [false, true] {
        let small = Small::new();
        let mut logd = Logd::start(&small.home, &["--when-full", "drop-new"]);
        send_too_much(&small, &logd, 15);
        let dropped = 15 - await_dropped(&small, &logd);
        small.free();
        if kill {
            logd.signal_worker(Signal::KILL);
        }
        let end = logd.stop();
        end.expect(["dropped"], [dropped as u64]);
        let counted = format!("{dropped} messages dropped: no room (ENOSPC)");
        let own = own_words(&small);
        assert!(own.iter().any(|text| text.contains(&counted)), "{own:?}");
        assert!(fs::symlink_metadata(small.home.dir().join("running")).is_err());
    }
}
