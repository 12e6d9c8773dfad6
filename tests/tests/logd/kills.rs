//! kill -9 of the worker and of main at any moment: under load, during rotations, and on a disk
//! that is full at times.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use ipc_tests::deep;
use ipc_tests::random::Random;
use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::AsFd;
use rustix::fs::inotify;
use rustix::process::{Signal, kill_process};

use crate::check::check;
use crate::daemon::{ARGUMENTS, Logd, command};
use crate::full::{Small, send_too_much, text};
use crate::home::{DEADLINE, Home, eventually, lines, read};
use crate::load::{Load, numbers};
use crate::marks::UNCLEAN;
use crate::tracer::Tracer;

/// Many small files, the smallest intake, and no file deleted.
const OPTIONS: [&str; 6] = ["--rotate-bytes", "3000", "--keep", "1000000", "--intake", "65536"];
const CLIENTS: u32 = 4;
const LEN: usize = 90;
/// How often the disk is full in a round.
const CYCLES: usize = 4;
/// More than a round writes.
const DISK: &str = "size=48m";

/// Bytes in the intake per message, besides the text.
const INTAKE_HEAD: usize = 37;
/// Messages that main receives before it forwards any from the intake.
const BATCH: usize = 64;
/// Messages that the worker has and main tracks.
const SLOTS: usize = 256;

/// Counts by name.
type Sum = BTreeMap<&'static str, usize>;

/// How often each is killed.
fn kills() -> usize {
    deep::or(5, 200)
}

fn random_ms(random: &mut Random, limit: usize) -> Duration {
    Duration::from_millis(u64::try_from(random.below(limit)).unwrap())
}

/// Fills a disk and frees room again a few times: as long as a round lasts, but never so long that
/// a start has to wait.
struct Pressure {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pressure {
    fn start(small: &Small, mut random: Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (path, seen) = (small.ballast(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for _ in 0..CYCLES {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                sleep(random_ms(&mut random, 100));
                fill(&path);
                sleep(random_ms(&mut random, 300));
                fs::remove_file(&path).unwrap();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        _ = self.thread.take().map(JoinHandle::join);
    }
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while file.write_all(&[0; 65536]).is_ok() {}
    while file.write_all(&[0; 4096]).is_ok() {}
}

/// Waits for any moment, or for one shortly after a rotation has begun.
fn await_moment(home: &Home, random: &mut Random, limit_ms: usize) {
    sleep(random_ms(random, limit_ms));
    if random.one_in(2) {
        return;
    }
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, home.dir(), inotify::WatchFlags::MOVED_FROM).unwrap();
    // A full disk has no rotations.
    let deadline = Instant::now() + Duration::from_millis(200);
    wait(&mut [Watched::new(watch.as_fd(), Interest::Input)], Some(deadline)).unwrap();
    let until = Instant::now() + Duration::from_micros(random.next() % 500);
    while Instant::now() < until {}
}

/// Returns whether the log or a number is missing, which means an interrupted rotation.
fn is_amid_rotation(home: &Home) -> bool {
    let numbers = home.numbers();
    numbers.last() != Some(&0) || numbers.windows(2).any(|pair| pair[0] - pair[1] > 1)
}

/// Removes files that have been checked.
fn remove_older(home: &Home) {
    for number in home.numbers().into_iter().filter(|&number| number > 0) {
        fs::remove_file(home.log(number)).unwrap();
    }
}

fn expect_whole(home: &Home) {
    let (status, printed, said) = check(home);
    assert_eq!((status, &*said), (Some(0), ""), "{printed}");
}

pub(crate) fn after_a_workers_death_each_line_is_there_once_or_named() {
    const AT_ONCE: usize = 3;
    let small = Small::with(DISK);
    let home = &small.home;
    let mut random = Random::new();
    let (mut sum, mut left) = (Sum::new(), kills());
    while left > 0 {
        let mut logd = Logd::start(home, &OPTIONS);
        let pressure = Pressure::start(&small, Random::seeded(random.next()));
        let load = Load::start(&logd, CLIENTS, LEN);
        // Only a few: restarts are delayed more and more.
        for _ in 0..AT_ONCE.min(left) {
            await_moment(home, &mut random, 100);
            logd.replace_worker_after(|| {
                *sum.entry("amid a rotation").or_default() += usize::from(is_amid_rotation(home));
            });
            left -= 1;
        }
        sleep(random_ms(&mut random, 100));
        let end = logd.stop();
        drop(pressure);
        let said = logd.said();
        let sent = load.check(home, &said);
        expect_whole(home);
        let [lost, deaths] =
            ["lost (", "the worker ended"].map(|words| logd.said_count(words) as u64);
        assert!(lost <= deaths, "{said}");
        let keys = ["received", "written", "lost", "refused", "dropped", "deaths"];
        end.expect(keys, [sent, sent - lost, lost, 0, 0, deaths]);
        assert_eq!(logd.said_count(UNCLEAN), 0, "{said}");
        for (key, count) in [("sent", sent), ("named", lost), ("deaths", deaths)] {
            *sum.entry(key).or_default() += usize::try_from(count).unwrap();
        }
        *sum.entry("full").or_default() += said.matches("the disk is full").count();
        remove_older(home);
        fs::remove_file(home.log(0)).unwrap();
    }
    println!("the worker was killed: {sum:?}");
}

/// Starts a daemon like a supervisor: retries while the log is locked.
fn start<'a>(home: &'a Home, retries: &mut usize) -> Logd<'a> {
    let limit = Instant::now() + DEADLINE;
    loop {
        // The last daemon's worker still has them open.
        for name in ["stdout", "stderr"] {
            fs::remove_file(home.path(name)).unwrap();
        }
        match Logd::try_spawn(home, command(home, &ARGUMENTS).args(OPTIONS)) {
            Ok(logd) => return logd,
            Err(said) => {
                assert!(said.contains("another process writes to the log"), "{said}");
                assert!(Instant::now() < limit, "{said}");
                *retries += 1;
            }
        }
    }
}

/// Checks the lines of a load whose main was killed, and returns how many messages were lost.
fn judge(counts: &[u32], texts: &[String]) -> usize {
    let mut next = vec![0; counts.len()];
    for text in texts {
        let (client, number) = numbers(text);
        let expected = &mut next[usize::try_from(client).unwrap()];
        assert_eq!(*expected, number, "client {client}: twice, missing or out of order");
        *expected += 1;
    }
    assert!(counts.iter().zip(&next).all(|(sent, next)| next <= sent), "what was not sent");
    usize::try_from(counts.iter().sum::<u32>() - next.iter().sum::<u32>()).unwrap()
}

/// How many messages can be lost. Main loses those in the intake and in the socket's queue, which
/// each client can overfill by one; the worker loses those that it has.
fn most_lost(victims: Victims) -> usize {
    let path = ipc_tests::around::proc("sys/net/unix/max_dgram_qlen");
    let queue: usize = fs::read_to_string(path).unwrap().trim().parse().unwrap();
    let clients = usize::try_from(CLIENTS).unwrap();
    let of_worker = if victims == Victims::Both { SLOTS } else { 0 };
    queue + 1 + clients + 65536 / (INTAKE_HEAD + LEN) + BATCH + of_worker
}

/// The processes to kill.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Victims {
    Main,
    Both,
}

pub(crate) fn after_mains_death_only_intake_and_queue_are_lost_and_the_next_says_so() {
    kill_main(Victims::Main);
}

pub(crate) fn after_the_death_of_both_nothing_is_there_twice_or_in_part() {
    kill_main(Victims::Both);
}

fn kill_main(victims: Victims) {
    let small = Small::with(DISK);
    let home = &small.home;
    let mut random = Random::new();
    let mut sum = Sum::new();
    let most_allowed = most_lost(victims);
    let mut logd = Logd::start(home, &OPTIONS);
    for _ in 0..kills() {
        remove_older(home);
        let kept = read(&home.log(0));
        let pressure = Pressure::start(&small, Random::seeded(random.next()));
        let load = Load::start(&logd, CLIENTS, LEN);
        await_moment(home, &mut random, 300);
        let worker = logd.worker().unwrap();
        logd.signal(Signal::KILL);
        if victims == Victims::Both {
            sleep(Duration::from_micros(random.next() % 2000));
            // It may have written everything by now.
            _ = kill_process(worker, Signal::KILL);
            let is_amid = is_amid_rotation(home);
            *sum.entry("amid a rotation").or_default() += usize::from(is_amid);
        }
        logd.await_end();
        *sum.entry("full").or_default() += logd.said_count("the disk is full");
        let counts = load.counts();
        // If the disk may be full at the start, the line reaches the log later.
        let pressure = Some(pressure).filter(|_| random.one_in(2));
        let is_free = pressure.is_none();
        logd = start(home, sum.entry("further starts").or_default());
        drop(pressure);

        assert_eq!(logd.said_count(UNCLEAN), 1, "{}", logd.said());
        expect_whole(home);
        let bytes = home.bytes();
        assert!(bytes.starts_with(&kept), "what was there has changed");
        let news = lines(&bytes[kept.len()..]);
        let is_own = |text: &String| text.ends_with(UNCLEAN);
        let news: Vec<String> = news.into_iter().map(|it| it.text).collect();
        assert!(!is_free || news.last().is_some_and(is_own), "the log says nothing: {news:?}");
        let (own, texts): (Vec<_>, Vec<_>) = news.into_iter().partition(is_own);
        assert!(own.len() <= 2, "{own:?}");
        let lost = judge(&counts, &texts);
        assert!(lost <= most_allowed, "{lost} of at most {most_allowed} lost");
        let sent = usize::try_from(counts.iter().sum::<u32>()).unwrap();
        for (key, count) in [("sent", sent), ("lost", lost), ("own lines", own.len())] {
            *sum.entry(key).or_default() += count;
        }
        let most = sum.entry("most lost").or_default();
        *most = lost.max(*most);
    }
    logd.stop();
    println!("main was killed: {sum:?}; at most {most_allowed} lost each time");
}

/// During a rotation nothing was locked. The next worker created another log, and the messages that
/// the first one still had were lost.
pub(crate) fn repro_a_start_amid_a_rotation_waits() {
    Tracer::require();
    let home = Home::new();
    let mut logd = Logd::start(&home, &["--rotate-bytes", "1000", "--keep", "100"]);
    let worker = logd.worker().unwrap();
    let texts = send_to_stopped_worker(&logd, 40);
    let renames = "trace=?rename,?renameat,?renameat2";
    let slow = "inject=?rename,?renameat,?renameat2:delay_exit=3000000:when=1";
    let tracer = Tracer::attach(&home, worker, &[renames, slow]);
    kill_process(worker, Signal::CONT).unwrap();
    eventually("a rotation", || (!home.log(0).exists()).then_some(()));
    logd.signal(Signal::KILL);
    logd.await_end();
    start(&home, &mut 0).stop();
    drop(tracer);
    expect_all_and_own(&home, &texts);
}

/// Stops the worker, sends messages, and returns once main has forwarded them.
fn send_to_stopped_worker(logd: &Logd<'_>, count: usize) -> Vec<String> {
    let text = |number| format!("reaches {number} {}", "r".repeat(60));
    let texts: Vec<String> = (0..count).map(text).collect();
    logd.signal_worker(Signal::STOP);
    let client = logd.client();
    for text in &texts {
        client.send(text.as_bytes()).unwrap();
    }
    await_received(logd, count);
    texts
}

fn await_received(logd: &Logd<'_>, count: usize) {
    eventually("main to have sent them on", || {
        let received = logd.figures("second").last()?.number("received");
        (usize::try_from(received) == Ok(count)).then_some(())
    });
}

fn expect_all_and_own(home: &Home, texts: &[String]) {
    let written = home.texts();
    let (own, others) = written.split_last().unwrap();
    assert_eq!(others, texts);
    assert!(own.ends_with(UNCLEAN), "{own}");
}

/// Kills main, lets its worker continue a little later, and meanwhile starts the next daemon.
fn start_before(home: &Home, mut logd: Logd<'_>, go_on: impl FnOnce() + Send) {
    logd.signal(Signal::KILL);
    logd.await_end();
    let mut retries = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sleep(Duration::from_millis(300));
            go_on();
        });
        start(home, &mut retries).stop();
    });
    // Everything is locked meanwhile. On a busy machine a start may give up earlier.
    assert!(retries < 4, "it does not wait: {retries} failed starts");
}

pub(crate) fn what_has_reached_the_worker_is_written_after_mains_death() {
    let home = Home::new();
    let logd = Logd::start(&home, &[]);
    let worker = logd.worker().unwrap();
    let texts = send_to_stopped_worker(&logd, 100);
    start_before(&home, logd, || kill_process(worker, Signal::CONT).unwrap());
    expect_all_and_own(&home, &texts);
}

pub(crate) fn a_worker_on_a_full_disk_writes_all_after_mains_death() {
    let small = Small::new();
    let logd = Logd::start(&small.home, &[]);
    send_too_much(&small, &logd, 15);
    await_received(&logd, 15);
    start_before(&small.home, logd, || small.free());
    let texts: Vec<String> = (0..15).map(text).collect();
    expect_all_and_own(&small.home, &texts);
}
