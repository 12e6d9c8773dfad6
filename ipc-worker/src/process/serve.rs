//! The worker's side of a start by exec: takes what main passed, and serves.

#![expect(unsafe_code, reason = "takes descriptors by number; maps memory for its buffers")]

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;

use ipc_barrier::process::{Reason, detach_all_but, exit};
use ipc_transport::{Inbox, Outbox, Peer, SharedPage, Stream, SystemError, inherit};
use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, readlinkat_raw};
use rustix::io::{self, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::Pid;

use super::child::{Given, be_ordinary};
use super::mark::Mark;
use super::medium::{Medium, OverSocket};
use super::shared::Shared;
use crate::handler::Handler;
use crate::ledger::Arena;

/// The worker's end of the stream. The file of the shared words follows it.
pub(super) const STREAM: RawFd = 3;
pub(super) const PAGE: RawFd = 4;
/// The file of the blocks, if the mark says that there is one.
pub(super) const BLOCKS: RawFd = 5;

/// Bytes of a process's name, with the zero at its end: `PR_SET_NAME` of prctl(2).
const NAME: usize = 16;

/// The status of a program that was started by hand: wrong usage, in sysexits.h.
const BY_HAND: i32 = 64;

/// A worker's buffers.
struct Buffers<const SLOTS: usize, const BYTES: usize> {
    inbox: MaybeUninit<Inbox<BYTES>>,
    outbox: MaybeUninit<Outbox<BYTES, SLOTS>>,
}

/// Returns whether this process was started as a worker, by [`Start::exec_self`] or
/// [`Start::exec`](crate::Start::exec). If so, call [`serve`] before anything else.
///
/// False for a program that a worker starts, even with the same arguments. Also true in a pid
/// namespace other than main's. Still true if main has died: [`serve`] then exits.
///
/// [`Start::exec_self`]: crate::Start::exec_self
#[cfg(feature = "std")]
pub fn is_worker() -> bool {
    argument().is_some_and(|argument| Mark::of_main(&argument, is_given_by).is_some())
}

/// Serves the main process that started this one, and exits when main closes. `SLOTS` and `BYTES`
/// must equal those of main's `Worker`.
///
/// Call it first in a worker's `main`. It detaches every inherited descriptor except 0, 1 and 2
/// from its file. Then it calls `make`, which sets up the process, drops privileges and returns the
/// handler. [`Handler::prepare`] follows. If either fails, main gets the reason as
/// [`StartError::Failed`](crate::StartError::Failed).
///
/// SIGINT, SIGTERM, SIGHUP and SIGPIPE are ignored, as in a forked worker; see
/// [`Start::fork`](crate::Start::fork). Without `/proc`, only descriptors that are close-on-exec in
/// main are closed.
///
/// If the program was started by hand, it prints a message on standard error and exits with status
/// 64.
///
/// ```no_run
/// use ipc_worker::{Refusal, Reply, Request};
///
/// fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
///     reply.put(request.bytes())
/// }
///
/// fn main() {
///     if ipc_worker::is_worker() {
///         ipc_worker::serve::<_, 64, 32768>(|| Ok(handle));
///     }
///     // … the main process
/// }
/// ```
#[cfg(feature = "std")]
pub fn serve<H: Handler, const SLOTS: usize, const BYTES: usize>(
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    let argument = argument().unwrap_or_default();
    serve_as::<H, SLOTS, BYTES>(&argument, make)
}

/// Returns whether this process is a worker that has not called [`serve`] yet.
#[cfg(feature = "std")]
pub(super) fn is_still_to_serve() -> bool {
    let mark = argument().and_then(|argument| Mark::of_main(&argument, is_given_by));
    mark.is_some_and(|mark| is_given_by(mark.main))
}

/// The first argument after the program's name.
#[cfg(feature = "std")]
pub(crate) fn argument() -> Option<std::ffi::CString> {
    use std::os::unix::ffi::OsStringExt;
    let argument = std::env::args_os().nth(1)?;
    std::ffi::CString::new(argument.into_vec()).ok()
}

/// Serves as [`serve`] does, for a program without std. `argument` is the first argument after the
/// program's name.
pub fn serve_as<H: Handler, const SLOTS: usize, const BYTES: usize>(
    argument: &CStr,
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    serve_over::<OverSocket, H, SLOTS, BYTES>(argument, make)
}

pub(crate) fn serve_over<M: Medium, H: Handler, const SLOTS: usize, const BYTES: usize>(
    argument: &CStr,
    make: impl FnOnce() -> Result<H, Reason>,
) -> ! {
    let Some((mark, stream, file)) = Mark::of_main(argument, is_given_by).and_then(given) else {
        say(b"this program is a worker: its main process starts it\n");
        exit(BY_HAND);
    };
    let map = |len| SharedPage::of_file(file.as_fd(), len);
    // Main may have no ring.
    let page = map(Shared::len::<M>(SLOTS, BYTES)).or_else(|_| map(Shared::len_alone(SLOTS)));
    let Ok(buffers) = buffers::<SLOTS, BYTES>() else { exit(super::child::SET_UP_FAILED) };
    let Buffers { inbox, outbox } = buffers;
    let shared = page.as_ref().map_or_else(
        |_| Shared::default(),
        |page| Shared::of(page.words(), Shared::len_alone(SLOTS)),
    );
    let [_, worker] = M::ENDS;
    let (inbox, outbox) = (Inbox::init(inbox), Outbox::init(outbox));
    let arena = mark.has_blocks.then(map_blocks).transpose();
    let words = arena.as_ref().map_or(&[][..], |page| page.as_ref().map_or(&[], SharedPage::words));
    let (medium, blocks) = (worker(), Arena::of_page(words));
    let given = Given { stream, shared, medium, blocks, spin: mark.spin, inbox, outbox };
    let mut made = None;
    given.serve(|_| {
        set_up(file, page.as_ref().err())?;
        if let Err(error) = &arena {
            return Err(Reason::new("blocks", error.errno, error.call));
        }
        let handler = made.insert(make()?);
        handler.prepare()?;
        Ok(handler)
    })
}

/// Returns whether an exec left this number open. A descriptor that this program opened itself is
/// close-on-exec, or has another peer.
fn is_given(number: RawFd) -> bool {
    // SAFETY: the call only asks whether the number is open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(fd).is_ok_and(|flags| !flags.contains(FdFlags::CLOEXEC))
}

/// Returns whether this process has a stream and a file from that process at the agreed numbers.
/// In another pid namespace that process has no pid; a sealed memfd shows that the file is main's.
fn is_given_by(main: Pid) -> bool {
    // SAFETY: the calls only ask what is open there.
    let [stream, page] = [STREAM, PAGE].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
    let is_main = |peer: Peer| match peer.pid {
        0 => SharedPage::of_whole_file(page).is_ok(),
        pid => pid == main.as_raw_pid(),
    };
    is_given(STREAM) && is_given(PAGE) && Peer::of_fd(stream).is_ok_and(is_main)
}

/// Takes what main put at the agreed numbers. `None` if this process is not a worker.
fn given(mark: Mark) -> Option<(Mark, Stream, OwnedFd)> {
    if !is_given_by(mark.main) || mark.has_blocks && !is_given(BLOCKS) {
        return None;
    }
    // SAFETY: main made both and put them there for this call to take. A descriptor that was taken
    // is close-on-exec, so it is not taken twice.
    let stream = unsafe { inherit(STREAM) }.ok()?;
    // SAFETY: as above.
    let file = unsafe { OwnedFd::from_raw_fd(PAGE) };
    fcntl_setfd(&file, FdFlags::CLOEXEC).ok()?;
    Some((mark, stream, file))
}

/// Maps the file that main put at the agreed number.
fn map_blocks() -> Result<SharedPage, SystemError> {
    // SAFETY: main put it there for this call to take, as its mark says.
    let file = unsafe { OwnedFd::from_raw_fd(BLOCKS) };
    SharedPage::of_whole_file(file.as_fd())
}

/// Resets this process, so that it inherits only the stream.
fn set_up(file: OwnedFd, unmapped: Option<&SystemError>) -> Result<(), Reason> {
    drop(file);
    // If the file is too short, main has fewer slots, which it will learn from the first frame.
    if let Some(error) = unmapped.filter(|error| error.call != "fstat") {
        return Err(Reason::new("slots", error.errno, error.call));
    }
    be_ordinary()?;
    _ = take_name_of_program();
    // If this fails, main's own descriptors are close-on-exec anyway.
    _ = detach_all_but(&[STREAM]);
    Ok(())
}

/// Names the process after its program, if the exec named it after a descriptor's number.
fn take_name_of_program() -> io::Result<()> {
    let open = |path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut name = [0; NAME];
    let len = io::read(open(c"/proc/self/comm")?, &mut name)?;
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'\n';
    if !name.get(..len).unwrap_or_default().iter().all(is_number) {
        return Ok(());
    }
    let mut path = [0; 4096];
    let len = readlinkat_raw(CWD, c"/proc/self/exe", &mut path[..])?;
    let path = path.get(..len).unwrap_or_default();
    let program = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    // Of a program that was replaced on disk.
    let program = program.strip_suffix(b" (deleted)").unwrap_or(program);
    name = [0; NAME];
    // The last byte stays zero.
    name.iter_mut().take(NAME - 1).zip(program).for_each(|(to, from)| *to = *from);
    CStr::from_bytes_until_nul(&name).map_or(Ok(()), rustix::thread::set_name)
}

/// Maps memory for the buffers, so that neither a heap nor a large stack is needed.
fn buffers<const SLOTS: usize, const BYTES: usize>()
-> Result<&'static mut Buffers<SLOTS, BYTES>, SystemError> {
    let (protection, len) =
        (ProtFlags::READ | ProtFlags::WRITE, size_of::<Buffers<SLOTS, BYTES>>());
    // SAFETY: the kernel chooses the address, so no memory in use is replaced.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) };
    let buffers = mapped.map_err(SystemError::of("mmap"))?.cast::<Buffers<SLOTS, BYTES>>();
    // SAFETY: the mapping is as long as the value, page-aligned, zeroed, and valid with any
    // contents. It stays until the process ends, and nothing else refers to it.
    Ok(unsafe { &mut *buffers })
}

fn say(text: &[u8]) {
    // SAFETY: nothing else closes standard error during the call. If it is closed, the write fails.
    let stderr = unsafe { BorrowedFd::borrow_raw(2) };
    _ = io::write(stderr, text);
}
