//! The worker's process: set-up, first frame, serving, exit.

#![expect(unsafe_code, reason = "closes descriptors by number; keeps values until exit")]

use heapless::Vec;
use ipc_barrier::process::{
    Reason, close_all_but, detach_all_but, exit, give_up_precedence, reset_signals,
};
use ipc_transport::{Errno, Inbox, Instant, Outbox, Patience, Stream, SystemError, open_stdio};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use rustix::process::Signal;

use super::medium::Medium;
use super::shared::Shared;
use crate::blocks::View;
use crate::first_frame;
use crate::handler::Handler;
use crate::notes;
use crate::server::{Notes, Paces, Served, Server};

/// Exit statuses, from sysexits.h where it has one.
pub(super) const SET_UP_FAILED: i32 = 71;
const NOT_SETTLED: i32 = 74;
const PANIC: i32 = 101;
const BROKEN_STREAM: i32 = 76;

/// More descriptors than the list can hold.
const EMFILE: Errno = Errno(24);

/// Signals meant for main, which the worker ignores.
const IGNORED: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::PIPE, Signal::TERM];

/// Most descriptors that a worker keeps open: its stream and the handler's.
const OPEN: usize = 64;

/// What a new process gets.
pub(super) struct Given<'a, M, V, const SLOTS: usize, const BYTES: usize> {
    /// Its end of the stream.
    pub(super) stream: Stream,
    /// What it shares with main.
    pub(super) shared: Shared<'a>,
    pub(super) medium: M,
    /// Its view of the blocks.
    pub(super) blocks: V,
    pub(super) spin: Patience,
    pub(super) inbox: &'a mut Inbox<BYTES>,
    pub(super) outbox: &'a mut Outbox<BYTES, SLOTS>,
}

/// Ends the process when dropped by a panic, before the stream closes. So main first sees the
/// status of the panic, not a closed socket.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        exit(PANIC);
    }
}

impl<M: Medium, V: View, const SLOTS: usize, const BYTES: usize> Given<'_, M, V, SLOTS, BYTES> {
    /// Sets up the process, reports the result, and serves if it succeeded. Never returns.
    pub(super) fn serve<'h, H: Handler + 'h>(
        self,
        set_up: impl FnOnce(&Stream) -> Result<&'h mut H, Reason>,
    ) -> ! {
        let Self { mut stream, shared, mut medium, blocks, spin, inbox, outbox } = self;
        let Shared { words, credit, ring } = shared;
        let _guard = EndOnPanic;
        // SAFETY: this function neither returns nor unwinds, so its variables and arguments stay
        // valid.
        unsafe { notes::begin(credit) };
        let ready = set_up(&stream);
        match &ready {
            Ok(handler) => first_frame::ready(outbox, &handler.identity(), !ring.is_empty()),
            Err(reason) => first_frame::failed(outbox, reason),
        }
        // The empty socket has room for it. The next receive shows whether main is gone.
        _ = outbox.flush_with(&mut medium.link(&mut stream, &[], Some(spin)));
        outbox.clear();
        let Ok(handler) = ready else { exit(SET_UP_FAILED) };
        // SAFETY: the stream stays open, as above.
        let fd = unsafe { BorrowedFd::borrow_raw(stream.as_fd().as_raw_fd()) };
        let mut link = medium.link(&mut stream, ring, Some(spin));
        let sending = M::sender(&link, fd);
        let sending: notes::Sending<'_> = &sending;
        // SAFETY: as above: `sending` is a variable of this function.
        let sender = unsafe { notes::open(&sending, BYTES) };
        let notes = Notes { sender, credit };
        let (now, paces, finished) = (Instant::now, Paces::NEW, None);
        let mut server =
            Server { handler, words, blocks, inbox, outbox, notes, finished, now, paces };
        match server.serve(&mut link) {
            Served::Finished => exit(0),
            Served::NotSettled => exit(NOT_SETTLED),
            Served::Broken => exit(BROKEN_STREAM),
        }
    }
}

/// Resets this process's priorities, signals and standard streams.
pub(super) fn be_ordinary() -> Result<(), Reason> {
    let failed = |stage| move |error: SystemError| Reason::new(stage, error.errno, error.call);
    give_up_precedence();
    reset_signals(&IGNORED.map(Signal::as_raw)).map_err(failed("signals"))?;
    open_stdio().map_err(failed("standard streams"))
}

/// Sets up a forked process. It keeps its end of the stream and the handler's descriptors.
pub(super) fn set_up<'h, H: Handler>(
    stream: &Stream,
    handler: &'h mut H,
) -> Result<&'h mut H, Reason> {
    be_ordinary()?;
    let mut open: Vec<RawFd, OPEN> = Vec::new();
    for fd in handler.descriptors().chain([stream.as_fd()]) {
        open.push(fd.as_raw_fd())
            .map_err(|_| Reason::new("descriptors", EMFILE, "the handler holds more than 63"))?;
    }
    if detach_all_but(&open).is_err() {
        // SAFETY: this process never returns to main's values that own the closed descriptors, and
        // the handler has listed its own. Descriptors in statics are lost, as the guide says.
        unsafe { close_all_but(&open) }
            .map_err(|error| Reason::new("descriptors", error.errno, error.call))?;
    }
    handler.prepare()?;
    Ok(handler)
}
