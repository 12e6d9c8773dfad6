//! Notes from anywhere in a worker's process. The only static of these crates refers to what sends
//! them.

#![expect(unsafe_code, reason = "the static points to values that live until the process ends")]

use core::ptr;
use core::sync::atomic::{
    AtomicI32, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

use ipc_frame::Header;
use rustix::process::getpid;

use crate::ledger::{Credit, CreditWords};
use crate::server::{LAST_WORDS, Notes, Sender, Sent};

/// Sends for all threads, one at a time, and waits for room.
pub(crate) type Sending<'a> = &'a (dyn Fn(&[&[u8]]) -> Sent + Sync + 'a);

/// The state that a worker's process needs to send notes. A copy in a forked child is not used.
struct Own {
    /// The pid of the process that this belongs to.
    pid: AtomicI32,
    sending: AtomicPtr<Sending<'static>>,
    credit: AtomicPtr<CreditWords>,
    sender: Sender,
}

static OWN: Own = Own {
    pid: AtomicI32::new(0),
    sending: AtomicPtr::new(ptr::null_mut()),
    credit: AtomicPtr::new(ptr::null_mut()),
    sender: Sender::closed(),
};

/// Makes this process a worker whose notes are counted in the shared words. None is sent before
/// [`open`].
///
/// # Safety
/// The shared words must stay valid until the process ends.
pub(crate) unsafe fn begin(credit: Credit<'_>) {
    OWN.sender.close();
    OWN.sending.store(ptr::null_mut(), Relaxed);
    let words = credit.0.map_or(ptr::null_mut(), |words| ptr::from_ref(words).cast_mut());
    OWN.credit.store(words, Relaxed);
    // Pairs with the acquire load of each note.
    OWN.pid.store(getpid().as_raw_nonzero().get(), Release);
}

/// Enables notes, for a worker of `bytes` bytes in each direction.
///
/// # Safety
/// `sending` must stay valid until the process ends, not only while the returned sender exists.
pub(crate) unsafe fn open<'a>(sending: &'a Sending<'a>, bytes: usize) -> &'a Sender {
    // Pairs with the acquire load of each note.
    OWN.sending.store(ptr::from_ref(sending).cast_mut().cast(), Release);
    OWN.sender.open(bytes);
    &OWN.sender
}

/// Returns whether this process is a worker.
pub(crate) fn is_own() -> bool {
    OWN.pid.load(Acquire) == getpid().as_raw_nonzero().get()
}

/// Sends main a note that belongs to no request, from any thread of a worker's process, at any
/// time. [`Request::note`](crate::Request::note) describes the limits. Costs two system calls,
/// getpid(2) and sendmsg(2).
///
/// Returns false if the note was dropped. That also happens before main knows that the worker is
/// ready, and while another thread sends. Does nothing and returns false in a process that is not a
/// worker: in main, inline, and in a child that a handler forked.
pub fn note(number: u16, bytes: &[u8]) -> bool {
    if !is_own() {
        return false;
    }
    // SAFETY: the caller of `begin` promised that it stays valid in this process.
    let credit = Credit(unsafe { OWN.credit.load(Relaxed).as_ref() });
    // SAFETY: the caller of `open` promised that it stays valid in this process.
    let sending = unsafe { OWN.sending.load(Acquire).as_ref() };
    // Without it, the sender refuses to send.
    let mut by = |pieces: &[&[u8]]| sending.map_or(Ok(None), |sending| sending(pieces));
    let notes = Notes { sender: &OWN.sender, credit };
    notes.send(&mut by, Header::note(number, Header::NO_REQUEST), bytes) == Ok(true)
}

/// Sends main a text as the final [`note`], with the number
/// [`Note::LAST_WORDS`](crate::Note::LAST_WORDS). Meant for a panic hook. Main gets the note before
/// [`Event::Died`](crate::Event::Died). A text longer than a note is cut.
///
/// Last words have a separate credit of the same size. Returns false in the same cases as [`note`],
/// so a hook that main shares can fall back to the default one.
///
/// ```
/// // Set this in main before the start, or in `Handler::prepare`.
/// let usual = std::panic::take_hook();
/// std::panic::set_hook(Box::new(move |info| {
///     if !ipc_worker::last_words(&info.to_string()) {
///         usual(info);
///     }
/// }));
/// ```
pub fn last_words(text: &str) -> bool {
    note(LAST_WORDS, cut(text, longest()).as_bytes())
}

/// Returns the length of the longest note of this process, in bytes.
pub(crate) fn longest() -> usize {
    OWN.sender.longest()
}

/// Cuts a text at a character boundary, to at most `len` bytes.
pub(crate) fn cut(text: &str, len: usize) -> &str {
    let mut len = len.min(text.len());
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.get(..len).unwrap_or_default()
}
