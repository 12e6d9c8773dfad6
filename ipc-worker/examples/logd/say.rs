//! Words to the outside, without waiting for it, but for a second at the end.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::common::quiet::{Quiet, Unsaid};

/// The longest text that a pipe takes whole (pipe(7)).
const LONGEST: usize = 4096;

/// How long a reader may hold the end.
const AT_THE_END: Duration = Duration::from_secs(1);

thread_local! {
    static ERRORS: RefCell<Voice> = RefCell::new(Voice::new());
}

/// Opens standard error, while this process still may.
pub(crate) fn open() {
    ERRORS.with_borrow(|_opened| ());
}

/// Opens it in the worker, whose descriptors are not main's.
pub(crate) fn open_again() {
    // The old one has a number that is none any more.
    ERRORS.with_borrow_mut(|voice| std::mem::forget(std::mem::replace(voice, Voice::new())));
}

/// Says a line for people on standard error. The same line again is counted for a while, and so are
/// too many; what nobody takes is left out and counted.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    ERRORS.with_borrow_mut(|voice| voice.say(&format!("{text}"), Instant::now()));
}

/// Says in the worker what main is to write to standard error. In line, and where main takes no
/// further note, it is written here.
pub(crate) fn report(text: fmt::Arguments<'_>) {
    if !ipc_worker::note(0, text.to_string().as_bytes()) {
        complain(text);
    }
}

/// Says how much was not said, once that is due.
pub(crate) fn settle(now: Instant) {
    ERRORS.with_borrow_mut(|voice| {
        if let Some(unsaid) = voice.quiet.settle(now).filter(|&unsaid| !voice.tell(unsaid)) {
            voice.quiet.put_back(unsaid, 0, now);
        }
    });
}

/// Returns when [`settle`] is due.
pub(crate) fn deadline() -> Instant {
    ERRORS.with_borrow(|voice| voice.quiet.deadline())
}

/// Says from now on each line, as at the end, when as many are lost as are named; a reader that is
/// slow is waited for, [`AT_THE_END`] in all.
pub(crate) fn say_all() {
    ERRORS.with_borrow_mut(|voice| {
        voice.outlet.patience = Instant::now() + AT_THE_END;
        let unsaid = voice.quiet.say_all();
        voice.tell(unsaid);
    });
}

/// Says how much was not said in the end.
pub(crate) fn close() {
    ERRORS.with_borrow_mut(|voice| {
        voice.outlet.patience = Instant::now() + AT_THE_END / 10;
        let unsaid = voice.quiet.say_all();
        voice.tell(unsaid);
    });
}

/// Standard error, and what was not said there.
struct Voice {
    outlet: Outlet,
    quiet: Quiet,
}

impl Voice {
    fn new() -> Self {
        Self { outlet: Outlet::new(rustix::stdio::stderr()), quiet: Quiet::new() }
    }

    fn say(&mut self, text: &str, now: Instant) {
        let Some(unsaid) = self.quiet.may_say(text.as_bytes(), now) else { return };
        if !self.tell(unsaid) {
            self.quiet.put_back(unsaid, 1, now);
        } else if !self.outlet.put(format!("logd: {text}\n").as_bytes()) {
            self.quiet.put_back(Unsaid::default(), 1, now);
        }
    }

    /// Says what was not said before. Returns whether the next line may follow.
    fn tell(&mut self, unsaid: Unsaid) -> bool {
        let Unsaid { repeated, left_out } = unsaid;
        let text = match (repeated, left_out) {
            (0, 0) => return true,
            (_, 0) => format!("logd: last line repeated (times: {repeated})\n"),
            (0, _) => format!("logd: lines left out: {left_out}\n"),
            _ => format!(
                "logd: last line repeated (times: {repeated}), lines left out: {left_out}\n"
            ),
        };
        self.outlet.put(text.as_bytes())
    }
}

/// A standard stream that is written to without waiting. It may be shared with others, whose mode of
/// waiting is theirs: so a pipe and a terminal are opened once more.
pub(crate) struct Outlet {
    shared: BorrowedFd<'static>,
    own: Option<OwnedFd>,
    is_socket: bool,
    /// Until when room is waited for.
    patience: Instant,
    /// A line was taken in part.
    torn: bool,
}

impl Outlet {
    pub(crate) fn new(shared: BorrowedFd<'static>) -> Self {
        let kind = fstat(shared).map(|stat| FileType::from_raw_mode(stat.st_mode)).ok();
        let own = matches!(kind, Some(FileType::Fifo | FileType::CharacterDevice)).then(|| {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(format!("/proc/self/fd/{}", shared.as_raw_fd()), flags, Mode::empty())
        });
        let own = own.and_then(Result::ok);
        Self {
            shared,
            own,
            is_socket: kind == Some(FileType::Socket),
            patience: Instant::PAST,
            torn: false,
        }
    }

    /// Writes lines if there is room for them now. Returns whether they were taken whole; what is too
    /// long is cut, and still ends its line.
    pub(crate) fn put(&mut self, text: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(text.len().min(LONGEST));
        bytes.extend(self.torn.then_some(b'\n'));
        bytes.extend(text.iter().take(LONGEST - bytes.len()));
        if let Some(last) = bytes.last_mut() {
            *last = b'\n';
        }
        let mut written = self.write(&bytes);
        if written == Err(Errno::AGAIN) && self.patience > Instant::now() && self.has_room() {
            written = self.write(&bytes);
        }
        // A reader that is gone is no trouble of ours.
        let written = written.unwrap_or(0);
        self.torn = if written > 0 { written < bytes.len() } else { self.torn };
        written == bytes.len()
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match &self.own {
            _ if self.is_socket => {
                send(self.shared, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            Some(own) => rustix::io::write(own, bytes),
            // It may wait: only where it need not.
            None if self.has_room() => rustix::io::write(self.shared, bytes),
            None => Err(Errno::AGAIN),
        }
    }

    fn has_room(&self) -> bool {
        let mut watched = [Watched::new(self.shared.as_fd(), Interest::Output)];
        wait(&mut watched, Some(self.patience)).unwrap_or(false)
    }
}
