//! The worker's process from its first moment on: set up, say so, serve, exit.

#![expect(unsafe_code, reason = "closing descriptors by number")]

use heapless::Vec;
use ipc_barrier::process::{
    Guard, Reason, close_all_but, detach_all_but, exit, give_up_precedence, reset_signals,
};
use ipc_transport::{Errno, Instant, Patience, Stream, SystemError, open_stdio};
use rustix::fd::{AsFd, AsRawFd, RawFd};
use rustix::process::Signal;

use crate::caller::Caller;
use crate::first_frame;
use crate::handler::Handler;
use crate::ledger::Words;
use crate::server::{Paces, Served, Server};

/// Exit statuses, of sysexits.h where they have one.
const SET_UP_FAILED: i32 = 71;
const NOT_SETTLED: i32 = 74;
const BROKEN_STREAM: i32 = 76;

/// More descriptors than there is room for.
const EMFILE: Errno = Errno(24);

/// Signals that are for main.
const IGNORED: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::PIPE, Signal::TERM];

/// Most descriptors that a worker keeps open: the stream and those of its handler.
const OPEN: usize = 64;

/// What a new process is given.
pub(super) struct Given<'a> {
    /// Its end of the stream.
    pub(super) stream: Stream,
    /// The words that it shares with main.
    pub(super) words: Words<'a>,
    pub(super) spin: Patience,
}

/// Runs the worker and ends its process. Because of the guard nothing unwinds past here.
pub(super) fn run<H: Handler, Tag, const SLOTS: usize, const BYTES: usize>(
    guard: Guard,
    given: Given<'_>,
    handler: &mut H,
    caller: &mut Caller<Tag, SLOTS, BYTES>,
) -> ! {
    let Given { mut stream, words, spin } = given;
    // Dropped before the stream: main shall see the panic's status, not a closed socket first.
    let _guard = guard;
    // Main's own buffers are used again: the kernel copies only the pages that are written.
    let Caller { inbox, outbox, .. } = caller;
    inbox.forget();
    outbox.forget();
    let ready = set_up(&stream, handler);
    match &ready {
        Ok(()) => first_frame::ready(outbox),
        Err(reason) => first_frame::failed(outbox, reason),
    }
    let mut stream = stream.blocking().with(spin);
    // There is room for it in the empty socket. A main that is gone shows at the next receive.
    _ = outbox.flush_with(&mut stream);
    outbox.clear();
    if ready.is_err() {
        exit(SET_UP_FAILED);
    }
    let mut server = Server {
        handler,
        words,
        inbox,
        outbox,
        finished: None,
        now: Instant::now,
        paces: Paces::NEW,
    };
    match server.serve(&mut stream) {
        Served::Finished => exit(0),
        Served::NotSettled => exit(NOT_SETTLED),
        Served::Broken => exit(BROKEN_STREAM),
    }
}

fn set_up<H: Handler>(stream: &Stream, handler: &mut H) -> Result<(), Reason> {
    let failed = |stage| move |error: SystemError| Reason::new(stage, error.errno, error.call);
    give_up_precedence();
    reset_signals(&IGNORED.map(Signal::as_raw)).map_err(failed("signals"))?;
    open_stdio().map_err(failed("standard streams"))?;
    let mut open: Vec<RawFd, OPEN> = Vec::new();
    for fd in handler.descriptors().chain([stream.as_fd()]) {
        open.push(fd.as_raw_fd())
            .map_err(|_| Reason::new("descriptors", EMFILE, "the handler holds more than 63"))?;
    }
    if detach_all_but(&open).is_err() {
        // SAFETY: this process never returns to the values of main that own what is closed, and the
        // handler has listed what it holds. What statics hold is lost; the guide says so.
        unsafe { close_all_but(&open) }.map_err(failed("descriptors"))?;
    }
    handler.prepare()
}
