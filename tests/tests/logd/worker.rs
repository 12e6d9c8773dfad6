//! The worker's deaths and stops, and what main does meanwhile.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::daemon::{Logd, longest};
use crate::home::{Home, eventually, read};
use crate::load::Load;
use crate::stop::send_until_full;
use crate::tracer::Tracer;

/// How often a worker is killed.
const KILLS: u64 = 5;

fn killed_under_load(arguments: &[&str], clients: u32, len: usize) {
    let home = Home::new();
    let mut logd = Logd::start(&home, arguments);
    let load = Load::start(&logd, clients, len);
    for _ in 0..KILLS {
        std::thread::sleep(Duration::from_millis(100));
        logd.replace_worker();
    }
    std::thread::sleep(Duration::from_millis(100));
    let end = logd.stop();
    let said = logd.said();
    let sent = load.check(&home, &said);
    let [lost, deaths] =
        ["lost (running)", "killed by signal 9"].map(|words| logd.said_count(words) as u64);
    assert!(lost <= deaths, "at most one was running at a time: {said}");
    assert_eq!(deaths, KILLS, "{said}");
    let keys = ["received", "written", "lost", "refused", "deaths"];
    end.expect(keys, [sent, sent - lost, lost, 0, deaths]);
}

pub(crate) fn a_killed_worker_loses_only_what_was_running() {
    killed_under_load(&["--rotate-bytes", "100000", "--keep", "10000"], 4, 60);
}

pub(crate) fn a_worker_killed_amid_long_lines_leaves_only_whole_ones() {
    killed_under_load(&["--rotate-bytes", "1000000000"], 2, longest() - 384);
}

pub(crate) fn a_stopped_worker_makes_clients_wait_and_loses_nothing() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--intake", "65536"]);
    let client = logd.client();
    let text = |number: u32| format!("waits {number} {}", "w".repeat(1000));
    logd.signal_worker(Signal::STOP);
    let mut count = send_until_full(&client, text);
    assert!((10..400).contains(&count), "{count} messages are held");
    let before = resident_kib(&logd);
    // The client keeps trying in vain; main only counts the seconds.
    let seconds = logd.figures("second").len();
    eventually("a second", || {
        count += send_until_full(&client, |number| text(count + number));
        (logd.figures("second").len() > seconds + 1).then_some(())
    });
    let after = resident_kib(&logd);
    assert!(after <= before + 512, "main has grown from {before} to {after} KiB");
    let later = &logd.figures("second")[seconds..];
    assert!(later.iter().any(|second| second.number("ticks") > 0), "{later:?}");
    logd.signal_worker(Signal::CONT);
    client.set_nonblocking(false).unwrap();
    client.send(b"the last").unwrap();
    let end = logd.stop();
    let expected = (0..count).map(text).chain(["the last".to_owned()]);
    assert!(home.texts().into_iter().eq(expected), "each one once and in order");
    end.expect(["received", "written"], [u64::from(count) + 1; 2]);
    assert!(end.figures.is_none_or(|figures| figures.number("paused") > 0));
    assert_eq!(logd.said_count("logd: the intake is full: clients wait"), 1, "{}", logd.said());
}

fn resident_kib(logd: &Logd<'_>) -> u64 {
    // The sum over its pages; the figure in `status` is an estimate.
    let path = ipc_tests::around::proc(&format!("{}/smaps_rollup", logd.pid().as_raw_nonzero()));
    let sums = fs::read_to_string(path).unwrap();
    let line = sums.lines().find(|line| line.starts_with("Rss:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub(crate) fn a_failed_sync_ends_the_worker_and_the_next_goes_on() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    let tracer = fail_first_sync(&home, logd.worker().unwrap());
    client.send(b"perhaps not synced").unwrap();
    logd.await_said("the worker ended: ");
    drop(tracer);
    for number in 0..20 {
        client.send(format!("after {number}").as_bytes()).unwrap();
    }
    check_failed_sync(&home, &mut logd, |number| match number {
        0 => "perhaps not synced".to_owned(),
        number => format!("after {}", number - 1),
    });
    assert_eq!(logd.said_count("written but perhaps not synced: perhaps not synced"), 1);
}

/// A sync that failed before a rename was forgotten. Messages in the old file counted as synced,
/// and the next message to be written was refused.
pub(crate) fn repro_a_sync_that_fails_at_a_rotation_ends_the_worker_too() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "150", "--keep", "100"]);
    let client = logd.client();
    let tracer = fail_first_sync(&home, logd.worker().unwrap());
    // Everything at once, so that the worker rotates within a batch.
    logd.signal_worker(Signal::STOP);
    let text = |number: u32| format!("rotates {number} {}", "r".repeat(60));
    for number in 0..21 {
        client.send(text(number).as_bytes()).unwrap();
    }
    std::thread::sleep(Duration::from_millis(100));
    logd.signal_worker(Signal::CONT);
    logd.await_said("the worker ended: ");
    drop(tracer);
    check_failed_sync(&home, &mut logd, text);
}

/// In line the only process to end is the daemon itself.
pub(crate) fn in_line_a_failed_sync_ends_the_daemon() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--inline"]);
    let tracer = fail_first_sync(&home, logd.pid());
    logd.client().send(b"perhaps not synced").unwrap();
    assert_eq!(logd.await_end().code(), Some(1));
    drop(tracer);
    assert_eq!(home.texts(), ["perhaps not synced"]);
    assert!(!home.socket().exists());
    let said = logd.said();
    assert!(said.contains("written but perhaps not synced: perhaps not synced\n"), "{said}");
    assert!(said.ends_with("logd: settle failed: EIO (code 5)\n"), "{said}");
}

fn fail_first_sync(home: &Home, process: Pid) -> Tracer {
    let inject = ["trace=fdatasync", "inject=fdatasync:error=EIO:when=1"];
    Tracer::attach(home, process, &inject)
}

/// Checks that the worker has ended once for it, and that its 21 messages are in the log.
fn check_failed_sync(home: &Home, logd: &mut Logd<'_>, text: impl FnMut(u32) -> String) {
    let end = logd.stop();
    assert!(home.texts().into_iter().eq((0..21).map(text)), "{:?}", home.texts());
    let keys = ["received", "written", "lost", "refused", "deaths"];
    end.expect(keys, [21, 21, 0, 0, 1]);
    assert_eq!(logd.said_count("could not be synced"), 1, "{}", logd.said());
    assert!(logd.said_count("written but perhaps not synced: ") > 0, "{}", logd.said());
}

pub(crate) fn main_touches_no_disk_after_the_start() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "1000"]);
    let calls = "trace=openat,fsync,fdatasync,renameat,renameat2,ftruncate,unlinkat,statx,\
                 newfstatat,?open,?creat,?rename,?unlink,?stat,?lstat,?sync_file_range,\
                 write,writev,pwrite64,pwritev,sendfile,mmap,recvfrom";
    let tracer = Tracer::attach(&home, logd.pid(), &[calls]);
    let client = logd.client();
    for number in 0..300 {
        client.send(format!("message {number}").as_bytes()).unwrap();
    }
    logd.signal(Signal::HUP);
    let seconds = logd.figures("second").len();
    eventually("a line for a second", || (logd.figures("second").len() > seconds).then_some(()));
    home.await_lines(1);
    drop(tracer);
    let end = logd.stop();
    end.expect(["written"], [300]);

    let trace = String::from_utf8(read(&home.path("strace"))).unwrap();
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
    assert!(calls.iter().any(|call| call.starts_with("recvfrom(")), "nothing was seen: {trace}");
    for call in calls {
        let harmless = ["recvfrom(", "write(1,", "writev(1,", "write(2,", "writev(2,"]
            .iter()
            .any(|prefix| call.starts_with(prefix))
            || call.starts_with("mmap(NULL,") && call.contains("MAP_ANONYMOUS");
        // The signal handler writes its byte to a socket.
        let is_signal = call.starts_with("---") || call.contains("\"\\0\", 1");
        assert!(harmless || is_signal, "main has called {call}");
    }
}
