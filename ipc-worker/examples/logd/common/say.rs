//! Words to the outside, without waiting for it, but for a second at the end.

#![expect(unsafe_code, reason = "a static of a program with one thread, and its standard error")]

use core::cell::RefCell;
use core::fmt::{self, Write};
use core::time::Duration;

use ipc_transport::Instant;
use rustix::fd::BorrowedFd;

use super::outlet::Outlet;
use super::quiet::{Quiet, Unsaid};
use super::words::Text;
use crate::program::PROGRAM;

/// Bytes of a line; what is longer is cut.
const LINE: usize = 1024;

/// How long a reader may hold the end.
const AT_THE_END: Duration = Duration::from_secs(1);

static ERRORS: OneThread = OneThread(RefCell::new(None));

/// The voice, once it is opened.
struct OneThread(RefCell<Option<Voice>>);

// SAFETY: a daemon has one thread: its workers are forked.
unsafe impl Sync for OneThread {}

/// Something went wrong, and it was said what.
#[derive(Debug)]
pub(crate) struct Failed;

/// Says what went wrong.
pub(crate) fn fail(text: fmt::Arguments<'_>) -> Failed {
    complain(text);
    Failed
}

/// Opens standard error, while this process still may.
pub(crate) fn open() {
    with(|_opened| ());
}

/// Opens it in the worker, whose descriptors are not main's.
pub(crate) fn open_again() {
    let mut errors = ERRORS.0.borrow_mut();
    // The old one has a number that is none any more.
    core::mem::forget(errors.replace(Voice::new()));
}

/// Says a line for people on standard error. The same line again is counted for a while, and so are
/// too many; what nobody takes is left out and counted.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    with(|voice| voice.say(text, Instant::now()));
}

/// Says in the worker what main is to write to standard error. In line, and where main takes no
/// further note, it is written here.
pub(crate) fn report(text: fmt::Arguments<'_>) {
    let mut room = [0; LINE];
    let mut note = Text::new(&mut room);
    // What does not fit is cut.
    _ = note.write_fmt(text);
    if !ipc_worker::note(0, note.bytes()) {
        complain(text);
    }
}

/// Says how much was not said, once that is due.
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

/// Says from now on each line, as at the end, when as many are lost as are named; a reader that is
/// slow is waited for, [`AT_THE_END`] in all.
pub(crate) fn say_all() {
    with(|voice| voice.tell_all(AT_THE_END));
}

/// Says how much was not said in the end.
pub(crate) fn close() {
    with(|voice| voice.tell_all(AT_THE_END / 10));
}

fn with<T>(call: impl FnOnce(&mut Voice) -> T) -> T {
    call(ERRORS.0.borrow_mut().get_or_insert_with(Voice::new))
}

/// Standard error, and what was not said there.
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
        // What does not fit is cut.
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

    /// Says what was not said before. Returns whether the next line may follow.
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
