//! Words to the outside, without ever waiting for it.

use std::fmt;
use std::io::IoSlice;

use ipc_transport::{Instant, Interest, Watched, wait};
use rustix::fd::BorrowedFd;

/// The longest text that a pipe takes whole without waiting once it has room (pipe(7)).
const LONGEST: usize = 4096;

/// Writes a line for people to standard error.
pub(crate) fn complain(text: fmt::Arguments<'_>) {
    say(rustix::stdio::stderr(), format!("logd: {text}\n").as_bytes());
}

/// Says in the worker what main is to write to standard error. In line, and where main takes no
/// further note, it is written here.
pub(crate) fn report(text: fmt::Arguments<'_>) {
    if !ipc_worker::note(0, text.to_string().as_bytes()) {
        complain(text);
    }
}

/// Writes lines if the receiver has room for them now; else they are left out. What is too long
/// is cut, and still ends its line.
pub(crate) fn say(fd: BorrowedFd<'_>, text: &[u8]) {
    let (text, end) = match text.get(..LONGEST - 1) {
        Some(cut) if text.len() > LONGEST => (cut, &b"\n"[..]),
        _ => (text, &b""[..]),
    };
    let mut watched = [Watched::new(fd, Interest::Output)];
    let at_once = Some(Instant::PAST);
    if wait(&mut watched, at_once).unwrap_or(false) {
        // A reader that is gone is no trouble of ours.
        _ = rustix::io::writev(fd, &[IoSlice::new(text), IoSlice::new(end)]);
    }
}
