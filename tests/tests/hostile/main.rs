//! Hostile workers that tell every possible lie. Main survives, no outcome goes astray, no
//! descriptor leaks, each lie is counted, and the next worker serves.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod blocks;
mod heard;
mod liar;
mod page;
mod ring;
mod ticks;

use ipc_tests::over::{self, Over};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ipc_tests::fds;
use ipc_tests::forked::soon;
use ipc_tests::random::Random;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{
    Again, Call, Counters, Exec, Fork, How, Instant, Launch, Restart, Start, TimeLimit, Worker,
};

use blocks::what_is_written_over_blocks_spoils_bytes_and_nothing_else;
use heard::{Heard, Told};
use liar::{ECHO, FIRST, FIRST_FILE, GUESS, LIES, LYING, Liar, NOTES, Own, REFUSED, SCRIBBLE, all};
use ticks::a_tick_beside_a_liar_and_beside_a_stranger;

pub(crate) const SLOTS: usize = 8;
pub(crate) const BYTES: usize = 4096;

/// The time limit for a lie that does not end otherwise.
const LIMIT: Duration = Duration::from_millis(60);

type Liars<L> = Worker<u32, L, SLOTS, BYTES>;

/// How to start the hostile worker.
trait Starts {
    type Launch: Launch;

    fn start(home: &Path, word: &'static CStr) -> Start<Self::Launch>;

    fn worker(home: &Path, restart: Restart) -> Liars<Self::Launch> {
        let limit = TimeLimit { grace: Duration::from_millis(20), ..TimeLimit::NONE };
        let start = Self::start(home, c"").restart(restart).time_limit(limit);
        Worker::start(start.ready_within(Duration::from_secs(20))).unwrap()
    }
}

struct Forked;

impl Starts for Forked {
    type Launch = Fork<Liar, Over>;

    fn start(home: &Path, _: &'static CStr) -> Start<Self::Launch> {
        over::fork(Liar::new(home))
    }
}

struct Program;

impl Starts for Program {
    type Launch = Exec<'static, Over>;

    fn start(home: &Path, word: &'static CStr) -> Start<Self::Launch> {
        let home = CString::new(home.as_os_str().as_bytes()).unwrap();
        let args: [&CStr; 2] = [Box::leak(home.into_boxed_c_str()), word];
        ipc_tests::around::start_self().unwrap().args(Box::leak(Box::new(args)))
    }
}

/// Makes honest requests, each with a descriptor that is returned.
fn honest<L: Launch>(worker: &mut Liars<L>) {
    let file = fds::file();
    for tag in 0..3_u32 {
        let (bytes, fds) = (tag.to_le_bytes(), [file.as_fd()]);
        worker.try_call(Call::new(ECHO, &[&bytes]).fds(&fds).reply_fds(1), tag).unwrap();
    }
    let heard = Heard::until(worker, |heard| heard.outcomes.len() == 3);
    for tag in 0..3_u32 {
        assert_eq!(heard.of(tag), Some(&Told::Reply(tag.to_le_bytes().to_vec())), "{heard:?}");
    }
    let came: Vec<u64> = heard.fds.iter().map(fds::id_of).collect();
    assert_eq!(came, [fds::id_of(&file); 3]);
}

/// Waits for the next worker if this one has died; otherwise kills this one first.
fn next_worker<L: Launch>(worker: &mut Liars<L>, heard: &Heard) {
    if heard.deaths == 0 {
        worker.kill();
    }
    if heard.starts == 0 {
        Heard::until(worker, |heard| heard.starts > 0);
    }
}

/// The names of the counters that are not zero.
fn counted(counters: &Counters) -> Vec<&'static str> {
    counters.iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
}

fn each_lie_hurts_only_its_worker_and_has_its_count<S: Starts>() {
    let home = tempfile::tempdir().unwrap();
    for (number, lie) in all().enumerate() {
        println!("{}", lie.name);
        let mut worker = S::worker(home.path(), Restart::AT_ONCE);
        honest(&mut worker);
        let before = fds::open().len();
        let call = Call::new(LIES + u16::try_from(number).unwrap(), &[]).reply_fds(1);
        let is_late = lie.counters.contains(&"killed_overdue");
        let call = if is_late { call.time_limit(LIMIT) } else { call };
        worker.try_call(call, 100).unwrap();
        for tag in 101..104_u32 {
            worker.try_call(Call::new(ECHO, &[&tag.to_le_bytes()]), tag).unwrap();
        }
        let deaths = usize::from(matches!(lie.own, Own::Lost | Own::LastReply));
        let heard =
            Heard::until(&mut worker, |heard| heard.outcomes.len() == 4 && heard.deaths == deaths);
        let own = match lie.own {
            Own::Reply | Own::LastReply => Told::Reply(LYING.to_vec()),
            Own::Refused => Told::Refused,
            Own::Lost => Told::Lost(How::Running),
        };
        assert_eq!(heard.of(100), Some(&own), "{}: {heard:?}", lie.name);
        let has_noted = lie.name.contains("notes");
        assert_eq!(heard.notes, if has_noted { NOTES } else { 0 }, "{}", lie.name);
        for tag in 101..104_u32 {
            let told = heard.of(tag).unwrap();
            // If the worker says nothing about them, they may have run.
            let may_be_lost = *told == Told::Lost(How::Running) && lie.counters == ["broken_words"];
            let is_right = *told == Told::Reply(tag.to_le_bytes().to_vec()) || may_be_lost;
            assert!(is_right, "{}: {heard:?}", lie.name);
        }
        let counters = worker.counters();
        let mut expected = lie.counters.to_vec();
        expected.sort_by_key(|name| counters.iter().position(|(count, _)| count == *name));
        assert_eq!(counted(&counters), expected, "{}: {counters:?}", lie.name);
        next_worker(&mut worker, &heard);
        drop(heard);
        leave_nothing(worker, before, lie.name);
    }
}

/// The replies arrive before main makes and sends the requests.
fn what_answers_a_request_that_was_not_sent_is_a_stray<S: Starts>() {
    over::only_the_socket();
    let home = tempfile::tempdir().unwrap();
    let mut worker = S::worker(home.path(), Restart::AT_ONCE);
    honest(&mut worker);
    worker.try_call(Call::new(GUESS, &[]), 100).unwrap();
    let (mut heard, limit) = (Heard::default(), soon());
    loop {
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            heard.note(event);
            if heard.outcomes.len() == 1 {
                worker.try_call(Call::new(ECHO, &[b"honest"]), 101).unwrap();
            }
        }
        if heard.outcomes.len() == 2 {
            break;
        }
        assert!(Instant::now() < limit, "{heard:?}, {worker:?}");
        let next = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(next)).unwrap();
    }
    assert_eq!(heard.of(101), Some(&Told::Reply(b"honest".to_vec())), "{heard:?}");
    let counters = worker.counters();
    assert_eq!(counted(&counters), ["stray_replies"]);
    // All guesses, and the honest reply after the first one.
    assert_eq!(counters.stray_replies, 4 * SLOTS as u64 + 1);
}

fn a_lie_before_it_is_ready_is_counted_and_the_next_one_serves<S: Starts>() {
    let home = tempfile::tempdir().unwrap();
    for number in 0..FIRST.len() - 1 {
        let worker = S::worker(home.path(), Restart::AT_ONCE);
        lie_first(worker, home.path(), number, "wrong_first_frames");
    }
}

fn one_that_is_never_ready_is_counted_and_the_next_one_serves<S: Starts>() {
    let home = tempfile::tempdir().unwrap();
    let start = S::start(home.path(), c"").restart(Restart::AT_ONCE);
    let worker = Worker::start(start.ready_within(Duration::from_secs(4))).unwrap();
    lie_first(worker, home.path(), FIRST.len() - 1, "killed_starting");
}

/// Kills the worker; the next one lies before it is ready.
fn lie_first<L: Launch>(mut worker: Liars<L>, home: &Path, number: usize, counter: &str) {
    let name = FIRST[number].0;
    honest(&mut worker);
    let before = fds::open().len();
    std::fs::write(home.join(FIRST_FILE), number.to_string()).unwrap();
    worker.try_call(Call::new(ECHO, &[b"x"]), 100).unwrap();
    worker.kill();
    let heard = Heard::until(&mut worker, |heard| heard.starts == 1);
    assert_eq!(heard.failures, 1, "{name}: {heard:?}");
    let mut counted = counted(&worker.counters());
    counted.retain(|count| *count != "killed_by_hand");
    assert_eq!(counted, [counter], "{name}");
    let heard = Heard::until(&mut worker, |heard| heard.outcomes.len() == 1);
    assert_eq!(heard.of(100), Some(&Told::Reply(b"x".to_vec())), "{name}");
    leave_nothing(worker, before, name);
}

/// Checks that the current worker serves, and that nothing is left of earlier ones.
fn leave_nothing<L: Launch>(mut worker: Liars<L>, before: usize, name: &str) {
    honest(&mut worker);
    let limit = soon();
    while (fds::open().len(), fds::children().len()) != (before, 1) {
        // A killed worker may take a while to exit.
        let left = (fds::open(), fds::children());
        assert!(Instant::now() < limit, "{name}: {left:?} are left, expected {before}");
        worker.turn(Instant::now());
        wait(&mut [], Some(Instant::now() + Duration::from_millis(1))).unwrap();
    }
    worker.stop(soon(), |event| panic!("{name}: {event:?}"));
    assert!(fds::children().is_empty(), "{name}");
}

/// The worker serves while it writes random words to the shared page.
fn a_page_that_is_scribbled_on_changes_fates_and_nothing_else<S: Starts>() {
    let mut wanted = 600;
    let home = tempfile::tempdir().unwrap();
    let mut worker = S::worker(home.path(), Restart::AT_ONCE);
    honest(&mut worker);
    let (mut random, before) = (Random::new(), fds::open().len());
    let (file, limit) = (fds::file(), soon());
    let fds = [file.as_fd()];
    let (mut next, mut heard) = (0_u32, Heard::default());
    loop {
        if random.one_in(20) {
            worker.kill();
        }
        worker.turn(Instant::now());
        while let Some(event) = worker.next_event() {
            heard.note(event);
            heard.fds.clear();
        }
        if heard.outcomes.len() == wanted as usize {
            if worker.counters().broken_words > 0 {
                break;
            }
            // So far the scribbling has not affected any request.
            wanted += 100;
        }
        // After events there is room again.
        while next < wanted {
            // If its word says that main has it, a request is never run and never answered. On a
            // busy machine some scribbling requests must still be in time.
            let (method, patience) = if next % 40 == 0 { (SCRIBBLE, 500) } else { (ECHO, 10) };
            let deadline = Instant::now() + Duration::from_millis(patience);
            let bytes = next.to_le_bytes();
            let grades = [Again::IfNotBegun, Again::UntilDone, Again::UntilAnswered, Again::Never];
            let again = grades[random.below(4)];
            let pieces: [&[u8]; 1] = [&bytes];
            let mut call = Call::new(method, &pieces).deadline(deadline).again(again).tries(100);
            if random.one_in(4) {
                call = call.fds(&fds).reply_fds(1);
            }
            if worker.try_call(call, next).is_err() {
                break;
            }
            next += 1;
        }
        assert!(Instant::now() < limit, "{} outcomes of {next}, {worker:?}", heard.outcomes.len());
        let wake = worker.next_deadline().map_or(limit, |next| next.min(limit));
        wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(wake)).unwrap();
    }
    for (tag, told) in &heard.outcomes {
        if let Told::Reply(bytes) = told {
            let own = if tag % 40 == 0 { vec![] } else { tag.to_le_bytes().to_vec() };
            assert_eq!(*bytes, own, "{tag} has another's reply");
        }
    }
    let counters = worker.counters();
    let replies = heard.outcomes.iter().filter(|(_, told)| matches!(told, Told::Reply(_))).count();
    println!("{replies} of {wanted} answered, {} deaths, {counters:?}", heard.deaths);
    assert!(replies > 0, "nothing was answered: {counters:?}");
    drop(file);
    worker.kill();
    Heard::until(&mut worker, |heard| heard.starts > 0);
    leave_nothing(worker, before, "a page that is scribbled on");
}

/// The page's descriptor is sealed: if it could be truncated, SIGBUS would kill main.
fn a_program_cannot_cut_the_shared_page<S: Starts>() {
    let home = tempfile::tempdir().unwrap();
    let start = S::start(home.path(), c"cuts");
    let mut worker = Liars::start(start).unwrap();
    worker.try_call(Call::new(REFUSED, &[]), 1).unwrap();
    let heard = Heard::until(&mut worker, |heard| heard.outcomes.len() == 1);
    let refused = [libc::EPERM; 3].map(i32::to_le_bytes).as_flattened().to_vec();
    assert_eq!(heard.of(1), Some(&Told::Reply(refused)), "{heard:?}");
    honest(&mut worker);
}

/// Tries to truncate the page, to grow it and to seal it against main, and returns the errors.
#[expect(unsafe_code, reason = "a descriptor by its number")]
fn cut_page() -> Vec<i32> {
    use rustix::fs::{SealFlags, fcntl_add_seals, ftruncate};
    // SAFETY: a worker started by exec has it there; it stays open for `serve`.
    let page = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(4) });
    let tried = [
        ftruncate(&*page, 0),
        ftruncate(&*page, 1 << 20),
        fcntl_add_seals(&*page, SealFlags::WRITE),
    ];
    tried.iter().map(|it| it.map_or_else(|errno| errno.raw_os_error(), |()| 0)).collect()
}

fn main() -> ExitCode {
    if ipc_worker::is_worker() {
        let mut args = std::env::args_os().skip(2);
        let home = args.next().unwrap_or_default();
        let refused =
            if args.next().is_some_and(|word| word == "cuts") { cut_page() } else { Vec::new() };
        over::serve::<_, SLOTS, BYTES>(|| Ok(Liar::refused(home, refused)));
    }
    cases()
}

ipc_tests::cases! { cases =
    forked: Forked, program: Program => {
        each_lie_hurts_only_its_worker_and_has_its_count,
        what_answers_a_request_that_was_not_sent_is_a_stray,
        a_lie_before_it_is_ready_is_counted_and_the_next_one_serves,
        a_page_that_is_scribbled_on_changes_fates_and_nothing_else,
    }
    program: Program => { a_program_cannot_cut_the_shared_page }
    forked: Forked => {
        one_that_is_never_ready_is_counted_and_the_next_one_serves,
        a_tick_beside_a_liar_and_beside_a_stranger,
        what_is_written_over_blocks_spoils_bytes_and_nothing_else,
    }

}
