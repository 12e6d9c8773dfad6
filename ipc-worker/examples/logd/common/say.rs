//! The daemon's messages. Nothing here waits for a reader, except up to a second at the end.

#![expect(
    unsafe_code,
    reason = "a static in a program with one thread, and standard error by number"
)]

use core::cell::RefCell;
use core::fmt::{self, Write};
use core::time::Duration;

use ipc_transport::Instant;
use rustix::fd::BorrowedFd;

use super::outlet::Outlet;
use super::quiet::{Quiet, Unsaid};
use super::words::Text;
use crate::program::PROGRAM;

/// Most bytes of a line. Longer ones are cut.
const LINE: usize = 1024;

/// How long a slow reader may delay the end.
const AT_THE_END: Duration = Duration::from_secs(1);

static ERRORS: OneThread = OneThread(RefCell::new(None));

/// Standard error, once it is opened.
struct OneThread(RefCell<Option<Voice>>);

// SAFETY: a daemon has one thread, because its workers are forked.
unsafe impl Sync for OneThread {}

/// An error that was already reported.
#[derive(Debug)]
pub(crate) struct Failed;

/// Reports an error.
pub(crate) fn fail(text: fmt::Arguments<'_>) -> Failed {
    complain(text);
    Failed
}

/// Opens standard error, while this process still has the privileges.
pub(crate) fn open() {
    with(|_opened| ());
}

/// Opens it in the worker, whose descriptors are not main's.
pub(crate) fn open_again() {
    let mut errors = ERRORS.0.borrow_mut();
    // The old value has a number that is not valid here.
    core::mem::forget(errors.replace(Voice::new()));
}

/// Writes a line to standard error. Repetitions of a line are only counted for a while, and so are
/// lines beyond the rate limit. Lines that no reader takes are left out and counted.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    with(|voice| voice.say(text, Instant::now()));
}

/// Passes a line from the worker to main, which writes it to standard error. Inline, or if main
/// takes no more notes, writes it here.
pub(crate) fn report(text: fmt::Arguments<'_>) {
    let mut room = [0; LINE];
    let mut note = Text::new(&mut room);
    // A longer text is cut.
    _ = note.write_fmt(text);
    if !ipc_worker::note(0, note.bytes()) {
        complain(text);
    }
}

/// Reports how many lines were left out, if that is due.
pub(crate) fn settle(now: Instant) {
    with(|voice| {
        if let Some(unsaid) = voice.quiet.settle(now).filter(|&unsaid| !voice.tell(unsaid)) {
            voice.quiet.put_back(unsaid, 0, now);
        }
    });
}

/// Returns when [`settle`] is due.
pub(crate) fn deadline() -> Instant {
    with(|voice| voice.quiet.deadline())
}

/// From now on, reports every line: at the end each lost message is named. Waits for a slow reader,
/// [`AT_THE_END`] in all.
pub(crate) fn say_all() {
    with(|voice| voice.tell_all(AT_THE_END));
}

/// Reports at the end how many lines were left out.
pub(crate) fn close() {
    with(|voice| voice.tell_all(AT_THE_END / 10));
}

fn with<T>(call: impl FnOnce(&mut Voice) -> T) -> T {
    call(ERRORS.0.borrow_mut().get_or_insert_with(Voice::new))
}

/// Standard error, and the counts of lines left out.
struct Voice {
    outlet: Outlet,
    quiet: Quiet,
}

impl Voice {
    fn new() -> Self {
        // SAFETY: standard error is open for as long as the daemon runs, or always closed.
        let errors = unsafe { BorrowedFd::borrow_raw(2) };
        Self { outlet: Outlet::new(errors), quiet: Quiet::new() }
    }

    fn say(&mut self, text: fmt::Arguments<'_>, now: Instant) {
        let mut room = [0; LINE];
        let mut line = Text::new(&mut room);
        // A longer text is cut.
        _ = write!(line, "{PROGRAM}: {text}");
        let Some(unsaid) = self.quiet.may_say(line.bytes(), now) else { return };
        if !self.tell(unsaid) {
            self.quiet.put_back(unsaid, 1, now);
        } else if !self.outlet.put(line.ended()) {
            self.quiet.put_back(Unsaid::default(), 1, now);
        }
    }

    fn tell_all(&mut self, patience: Duration) {
        self.outlet.patience = Instant::now() + patience;
        let unsaid = self.quiet.say_all();
        self.tell(unsaid);
    }

    /// Reports lines that were left out before. Returns whether the next line may follow.
    fn tell(&mut self, unsaid: Unsaid) -> bool {
        let Unsaid { repeated, left_out } = unsaid;
        let mut room = [0; LINE];
        let mut line = Text::new(&mut room);
        // It has room for both.
        _ = match (repeated, left_out) {
            (0, 0) => return true,
            (_, 0) => write!(line, "{PROGRAM}: last line repeated (times: {repeated})"),
            (0, _) => write!(line, "{PROGRAM}: lines left out: {left_out}"),
            _ => write!(
                line,
                "{PROGRAM}: last line repeated (times: {repeated}), lines left out: {left_out}"
            ),
        };
        self.outlet.put(line.ended())
    }
}
