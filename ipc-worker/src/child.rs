//! The worker's process from its first moment on: set up, meet main, serve, exit.

#![expect(unsafe_code, reason = "signals by the raw system call, and closing foreign descriptors")]

use heapless::Vec;
use ipc_barrier::{ChildEnd, Errno, Guard, Reason, exit};
use ipc_transport::{
    Inbox, Instant, Outbox, Patience, Stream, SystemError, close_all_but, open_stdio,
};
use rustix::fd::{AsFd, AsRawFd, RawFd};
use syscalls::{Sysno, syscall};

use crate::handler::Handler;
use crate::serve::{Served, Server};
use crate::slots::Slots;

/// Which step of the set-up failed.
const SIGNALS: u16 = 1;
const STANDARD_STREAMS: u16 = 2;
const DESCRIPTORS: u16 = 3;
const PREPARE: u16 = 4;

/// Exit statuses, of sysexits.h where they have one.
const SET_UP_FAILED: i32 = 71;
const NOT_SETTLED: i32 = 74;
const BROKEN_STREAM: i32 = 76;

/// The kernel's `struct sigaction`, and more (rt_sigaction(2)). Flags, mask and, on some machines,
/// a restorer may all be zero here, so that only the handler's place matters.
type Action = [usize; 40];

const IS_MIPS: bool = cfg!(any(target_arch = "mips", target_arch = "mips64"));
/// Where the handler stands: first, and on mips after the flags.
const HANDLER: usize = if IS_MIPS { 1 } else { 0 };
/// Bytes of the kernel's signal mask, and how many signals there are.
const MASK_SIZE: usize = if IS_MIPS { 16 } else { 8 };
const SIGNALS_COUNT: usize = MASK_SIZE * 8;

/// `SIG_DFL` and `SIG_IGN`.
const DEFAULT: Action = [0; 40];
const IGNORE: Action = {
    let mut action = DEFAULT;
    action[HANDLER] = 1;
    action
};

/// Room for the kept descriptors and the worker's own.
const OPEN: usize = 40;

/// What a worker's process goes on with; the rest of main's memory it leaves alone.
pub(crate) struct Legacy<'a, H, const SLOTS: usize, const BYTES: usize> {
    pub(crate) end: ChildEnd,
    pub(crate) stream: Stream,
    pub(crate) slots: &'a Slots,
    pub(crate) handler: &'a mut H,
    pub(crate) keep: &'a [RawFd],
    pub(crate) patience: Patience,
    /// Main's own buffers, to be used again: the kernel copies only the pages that are written.
    pub(crate) inbox: &'a mut Inbox<BYTES>,
    pub(crate) outbox: &'a mut Outbox<BYTES, SLOTS>,
}

/// Runs the worker and ends its process. The guard sees to it that nothing unwinds past here.
pub(crate) fn run<H: Handler, const SLOTS: usize, const BYTES: usize>(
    guard: Guard,
    legacy: Legacy<'_, H, SLOTS, BYTES>,
) -> ! {
    let Legacy { mut end, mut stream, slots, handler, keep, patience, inbox, outbox } = legacy;
    // Dropped before those above: main shall see the panic's status, not a closed socket first.
    let _guard = guard;
    inbox.forget();
    outbox.forget();
    if let Err((stage, error)) = set_up(&end, &stream, keep) {
        end.fail_with(&Reason::new(stage, error.errno, error.call));
        exit(SET_UP_FAILED);
    }
    if let Err(refusal) = handler.prepare() {
        end.fail_with(&Reason::new(PREPARE, Errno(refusal.code), refusal.text.as_str()));
        exit(SET_UP_FAILED);
    }
    _ = end.place();
    drop(end);
    let (finished, now) = (Vec::new(), Instant::now as fn() -> Instant);
    let mut server = Server { handler, slots, inbox, outbox, finished, now };
    match server.serve(&mut stream.blocking().with(patience)) {
        Served::Finished => exit(0),
        Served::NotSettled => exit(NOT_SETTLED),
        Served::Broken => exit(BROKEN_STREAM),
    }
}

fn set_up(end: &ChildEnd, stream: &Stream, keep: &[RawFd]) -> Result<(), (u16, SystemError)> {
    reset_signals().map_err(|error| (SIGNALS, error))?;
    open_stdio().map_err(|error| (STANDARD_STREAMS, error))?;
    let mut open: Vec<RawFd, OPEN> = Vec::new();
    let own = end.descriptors().chain([stream.as_fd()]).map(|fd| fd.as_raw_fd());
    for fd in own.chain(keep.iter().copied()) {
        // Three, one and at most 32 fit.
        _ = open.push(fd);
    }
    // SAFETY: this process never returns to the values of main that own what is closed; those
    // that the handler uses are listed by the caller of `Start::keep`.
    unsafe { close_all_but(&open) }.map_err(|error| (DESCRIPTORS, error))
}

/// Ignores what a terminal or a service manager sends to the whole group, and SIGPIPE; all other
/// signals that main handles have their default action again. A handler of main's would go on in
/// this process, and write to numbers that are other descriptors here.
fn reset_signals() -> Result<(), SystemError> {
    const SIGHUP: usize = 1;
    const SIGINT: usize = 2;
    const SIGPIPE: usize = 13;
    const SIGTERM: usize = 15;
    for signal in 1..=SIGNALS_COUNT {
        if [SIGHUP, SIGINT, SIGPIPE, SIGTERM].contains(&signal) {
            set_action(signal, &IGNORE)?;
        } else if action(signal).is_some_and(|action| action[HANDLER] > 1) {
            set_action(signal, &DEFAULT)?;
        }
    }
    Ok(())
}

fn set_action(signal: usize, action: &Action) -> Result<(), SystemError> {
    // SAFETY: the kernel only reads `action`, which is longer than its structure; no handler is
    // installed and no old one asked for.
    unsafe { syscall!(Sysno::rt_sigaction, signal, action.as_ptr(), 0, MASK_SIZE) }
        .map(|_| ())
        .map_err(|error| SystemError::of("rt_sigaction")(error.into_raw()))
}

/// What the process does upon a signal; `None` for a number that is no signal here.
fn action(signal: usize) -> Option<Action> {
    let mut action = DEFAULT;
    // SAFETY: the kernel writes its structure into `action`, which is longer; nothing is changed.
    unsafe { syscall!(Sysno::rt_sigaction, signal, 0, action.as_mut_ptr(), MASK_SIZE) }.ok()?;
    Some(action)
}
