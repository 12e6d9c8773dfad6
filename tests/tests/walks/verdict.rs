//! Compares what main was told with what the workers did, and looks for leftovers.

use crate::record::{Fate, Record, Told};
use crate::scenario::{DEADLY, EXIT, FILE, NOTING, ONE_WAY, PLAIN, TRIES};
use crate::tracer::{Act, Point, Seen, Side};

/// Returns an error with the message if a fact does not hold.
macro_rules! hold {
    ($fact:expr, $($why:tt)+) => {
        if !$fact {
            return Err(format!($($why)+));
        }
    };
}

/// The exit status of a process that panicked.
const PANIC: i32 = 101;

/// How late a call may end on a busy machine, in milliseconds.
const LATE: u32 = 20_000;

/// Judges a run.
pub(crate) fn judge(point: &Point<'_>, seen: &Seen, record: &Record) -> Result<(), String> {
    hold!(!seen.hung, "it hangs: {:?}, {record:?}", seen.workers);
    for (number, fate) in (PLAIN..).zip(&record.fates) {
        let most = if number == DEADLY { TRIES.into() } else { 1 };
        hold!(fate.begun.get() <= most, "request {number} began too often: {fate:?}");
        hold!(fate.told.get() <= fate.taken.get(), "request {number} was told twice: {fate:?}");
    }
    for status in seen.workers.values().copied().chain([seen.main]) {
        let panics = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == PANIC;
        let aborts = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) != libc::SIGKILL;
        hold!(!panics && !aborts, "a panic or a crash: {status:#x}");
    }
    let kills = point.kills();
    if kills && point.side == Side::Main && seen.acted {
        return main_was_killed(seen, record);
    }
    main_has_ended(seen, record)?;
    match point.act {
        Act::Nothing => nothing_has_happened(record),
        _ if kills && seen.acted => worker_was_killed(record),
        _ => Ok(()),
    }
}

/// Checks that no child is left.
pub(crate) fn judge_children(seen: &Seen, record: &Record) -> Result<(), String> {
    hold!(seen.children.is_empty(), "children are left: {:?}, {record:?}", seen.children);
    Ok(())
}

/// Checks that the whole scenario ran.
fn nothing_has_happened(record: &Record) -> Result<(), String> {
    let events = [&record.started, &record.notes, &record.deaths, &record.restarts];
    hold!(events.iter().all(|count| count.get() == 1), "not the whole scenario: {record:?}");
    for (number, fate) in (PLAIN..).zip(&record.fates) {
        let told = if number == ONE_WAY { Told::Nothing } else { Told::Reply };
        hold!(fate.how() == told && fate.ended.get() == 1, "request {number}: {fate:?}");
    }
    Ok(())
}

/// Checks that the worker ended by itself and left nothing half done.
fn main_was_killed(seen: &Seen, record: &Record) -> Result<(), String> {
    let is_killed = libc::WIFSIGNALED(seen.main) && libc::WTERMSIG(seen.main) == libc::SIGKILL;
    hold!(is_killed || libc::WIFEXITED(seen.main), "main: {:#x}", seen.main);
    for (pid, &status) in &seen.workers {
        let is_over = libc::WIFEXITED(status) && [0, EXIT].contains(&libc::WEXITSTATUS(status));
        hold!(is_over, "worker {pid} ended with {status:#x}");
    }
    for (number, fate) in (PLAIN..).zip(&record.fates) {
        let unfinished = fate.begun.get() - fate.ended.get();
        let most = u32::from(number == DEADLY);
        hold!(unfinished <= most, "request {number} is half done: {fate:?}");
        let is_honest = fate.told.get() == 0 || fate.how() == Told::Reply;
        hold!(is_honest, "request {number}: {:?}, {fate:?}", fate.how());
    }
    Ok(())
}

/// Checks that main reached the scenario's end, that each request has its outcome, and that nothing
/// is left.
fn main_has_ended(seen: &Seen, record: &Record) -> Result<(), String> {
    let has_exited = libc::WIFEXITED(seen.main) && libc::WEXITSTATUS(seen.main) == 0;
    hold!(has_exited && record.finished.get() == 1, "main ended with {:#x}", seen.main);
    hold!(record.started.get() + record.not_started.get() == 1, "no start: {record:?}");
    hold!(record.late_ms.get() < LATE, "{} ms after the deadline", record.late_ms.get());
    hold!(seen.left_open.is_empty(), "descriptors are left: {:?}", seen.left_open);
    for (number, fate) in (PLAIN..).zip(&record.fates) {
        if number == ONE_WAY {
            let lost = record.one_ways_lost.get();
            let is_told = fate.taken.get() <= fate.ended.get() + lost && lost <= 1;
            hold!(is_told, "the one-way: {fate:?}, {lost} lost");
            continue;
        }
        let is_one = fate.told.get() == fate.taken.get();
        hold!(is_one, "request {number} has no outcome: {fate:?}");
        let is_true = fate.told.get() == 0 || is_true(number, fate);
        hold!(is_true, "request {number}: {:?}, but {fate:?}", fate.how());
    }
    let noting = &record.fates[usize::from(NOTING)];
    hold!(record.notes.get() <= noting.begun.get(), "too many notes: {record:?}");
    Ok(())
}

/// Whether an outcome fits what the handlers did.
fn is_true(number: u16, fate: &Fate) -> bool {
    let (begun, ended) = (fate.begun.get(), fate.ended.get());
    match fate.how() {
        Told::Reply => ended > 0,
        Told::NotBegun => begun == 0,
        // Claimed, but main may have killed the worker before the handler's first step.
        Told::Running => true,
        // A request whose descriptor was lost is refused without running the handler.
        Told::Done => ended > 0 || number == FILE,
        Told::SetAside => begun == TRIES.into() && number == DEADLY,
        Told::Unsendable => begun == 0 && number == FILE,
        Told::Refused => number == FILE,
        Told::Late => true,
        Told::Nothing | Told::Wrong => false,
    }
}

/// Checks that at most one request was lost, and that another worker did the rest.
fn worker_was_killed(record: &Record) -> Result<(), String> {
    if record.started.get() == 0 {
        let none = record.fates.iter().all(|fate| fate.taken.get() == 0 && fate.begun.get() == 0);
        hold!(none, "without a start: {record:?}");
        return Ok(());
    }
    hold!(record.gave_up.get() == 0, "it gave up: {record:?}");
    let mut lost = record.one_ways_lost.get();
    for (number, fate) in (PLAIN..).zip(&record.fates) {
        hold!(fate.taken.get() == 1, "request {number} was not accepted: {fate:?}");
        if number == ONE_WAY || fate.how() == Told::Reply {
            continue;
        }
        let is_right = matches!(fate.how(), Told::Running | Told::Done) && number != DEADLY
            || fate.how() == Told::Done;
        hold!(is_right, "request {number}: {:?}, {fate:?}", fate.how());
        // Killed in the handler or after it.
        let has_ended = u32::from(fate.how() == Told::Done);
        hold!(fate.ended.get() == has_ended, "request {number}: {:?}, {fate:?}", fate.how());
        lost += 1;
    }
    hold!(lost <= 1, "one death, but {lost} were lost: {record:?}");
    Ok(())
}
