//! Notes from anywhere in a worker's process: what sends them is in the one static of these crates.

#![expect(unsafe_code, reason = "a static refers to what the process keeps until its end")]

use core::ptr;
use core::sync::atomic::{
    AtomicI32, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

use ipc_frame::Header;
use rustix::process::getpid;

use crate::ledger::{Credit, CreditWords};
use crate::server::{LAST_WORDS, Notes, Sender, Sent};

/// What sends for all threads, one at a time, and waits for room.
pub(crate) type Sending<'a> = &'a (dyn Fn(&[&[u8]]) -> Sent + Sync + 'a);

/// What a worker's process notes by. A copy of it in a fork of the process is not used.
struct Own {
    /// The process that this belongs to.
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

/// Makes this process one whose notes are counted in the shared words. None is sent before
/// [`open`].
///
/// # Safety
/// The shared words stay for as long as the process.
pub(crate) unsafe fn begin(credit: Credit<'_>) {
    OWN.sender.close();
    OWN.sending.store(ptr::null_mut(), Relaxed);
    let words = credit.0.map_or(ptr::null_mut(), |words| ptr::from_ref(words).cast_mut());
    OWN.credit.store(words, Relaxed);
    // Pairs with the acquire of each note.
    OWN.pid.store(getpid().as_raw_nonzero().get(), Release);
}

/// Lets notes go out, for a worker of `bytes` bytes each way.
///
/// # Safety
/// What sends them stays for as long as the process, and not only as the sender that is returned.
pub(crate) unsafe fn open<'a>(sending: &'a Sending<'a>, bytes: usize) -> &'a Sender {
    // Pairs with the acquire of each note.
    OWN.sending.store(ptr::from_ref(sending).cast_mut().cast(), Release);
    OWN.sender.open(bytes);
    &OWN.sender
}

/// Returns whether this is a worker's process.
pub(crate) fn is_own() -> bool {
    OWN.pid.load(Acquire) == getpid().as_raw_nonzero().get()
}

/// Sends main a note that belongs to no request, from anywhere in a worker's process: any of its
/// threads, during a request or not. See [`Request::note`](crate::Request::note) for what holds of
/// all notes. It takes two system calls, getpid(2) and sendmsg(2).
///
/// Returns false where the note was dropped: also before main was told that the worker is ready, and
/// while another thread sends, be it answers or a note. It does nothing, and returns false, in a
/// process that is no worker: in main, in line too, and in one that a handler has forked.
pub fn note(number: u16, bytes: &[u8]) -> bool {
    if !is_own() {
        return false;
    }
    // SAFETY: `begin` was promised that it stays, in this process.
    let credit = Credit(unsafe { OWN.credit.load(Relaxed).as_ref() });
    // SAFETY: `open` was promised that it stays, in this process.
    let sending = unsafe { OWN.sending.load(Acquire).as_ref() };
    // Without it the sender lets nobody send.
    let mut by = |pieces: &[&[u8]]| sending.map_or(Ok(None), |sending| sending(pieces));
    let notes = Notes { sender: &OWN.sender, credit };
    notes.send(&mut by, Header::note(number, Header::NO_REQUEST), bytes) == Ok(true)
}

/// Sends main a text as a last [`note`], whose number is [`Note::LAST_WORDS`](crate::Note::LAST_WORDS):
/// for a program's own panic hook. Main is told of it before [`Event::Died`](crate::Event::Died).
/// What is longer than a note may be is cut.
///
/// Last words have a credit besides that of other notes, as large. Returns false where [`note`]
/// does, so that a hook which main has set too can go on as usual there.
///
/// ```
/// // In main before the start, or in `Handler::prepare`.
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

/// Returns how many bytes the longest note of this process may have.
pub(crate) fn longest() -> usize {
    OWN.sender.longest()
}

/// Cuts a text at a character, to at most `len` bytes.
pub(crate) fn cut(text: &str, len: usize) -> &str {
    let mut len = len.min(text.len());
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.get(..len).unwrap_or_default()
}
