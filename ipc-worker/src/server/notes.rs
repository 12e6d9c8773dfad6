//! Notes, and the lock on the worker's stream: the handler's threads may send notes too.

use core::sync::atomic::{
    AtomicU8, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

use super::sending::{Sent, Served, pause, send};
use crate::ledger::{Count, Credit};
use ipc_frame::Header;

/// The note number of a worker's last words.
pub(crate) const LAST_WORDS: u16 = u16::MAX;

/// Most notes that main has not taken, and most bytes of them, unless `BYTES / 4` is less. They fit
/// in a socket buffer of the usual size, so a note waits only behind answers.
const MOST: Count = Count { notes: 16, bytes: 65_536 };

/// The states of the lock on the worker's stream.
const FREE: u8 = 0;
const TAKEN: u8 = 1;
const BROKEN: u8 = 2;

/// The lock on a worker's stream, and how many notes were sent.
#[derive(Debug)]
pub(crate) struct Sender {
    state: AtomicU8,
    notes: AtomicU32,
    bytes: AtomicU32,
    /// Bytes of the longest note.
    longest: AtomicU32,
}

/// The right to send, until it is dropped.
pub(super) struct Turn<'a>(&'a Sender);

impl Sender {
    /// A sender that refuses to send until it is [opened](Self::open).
    pub(crate) const fn closed() -> Self {
        let [notes, bytes, longest] = [const { AtomicU32::new(0) }; 3];
        Self { state: AtomicU8::new(TAKEN), notes, bytes, longest }
    }

    /// Refuses to send from now on.
    pub(crate) fn close(&self) {
        self.state.store(TAKEN, Relaxed);
    }

    /// Returns the length of the longest note, in bytes.
    pub(crate) fn longest(&self) -> usize {
        usize::try_from(self.longest.load(Relaxed)).unwrap_or(usize::MAX)
    }

    /// Starts over, for a worker of `bytes` bytes in each direction.
    pub(crate) fn open(&self, bytes: usize) {
        let longest = u32::try_from(bytes / 4).unwrap_or(u32::MAX).min(MOST.bytes);
        self.longest.store(longest, Relaxed);
        self.notes.store(0, Relaxed);
        self.bytes.store(0, Relaxed);
        self.state.store(FREE, Release);
    }

    /// Waits until no other thread sends.
    pub(super) fn enter(&self) -> Result<Turn<'_>, Served> {
        loop {
            match self.try_enter() {
                Ok(turn) => return Ok(turn),
                Err(BROKEN) => return Err(Served::Broken),
                Err(_) => pause(),
            }
        }
    }

    fn try_enter(&self) -> Result<Turn<'_>, u8> {
        // The acquire pairs with the release at the end of a turn.
        self.state.compare_exchange(FREE, TAKEN, Acquire, Relaxed).map(|_| Turn(self))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // After a frame that was only partly sent, the state stays broken.
        _ = self.0.state.compare_exchange(TAKEN, FREE, Release, Relaxed);
    }
}

/// The sender of notes, and its credit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notes<'a> {
    pub(crate) sender: &'a Sender,
    pub(crate) credit: Credit<'a>,
}

impl Notes<'_> {
    /// Sends a note at once, before answers that wait for `settle`. Blocks only if the call does.
    /// Returns false if the note was dropped: it is too long, there is no credit, or another thread
    /// sends. Last words have a separate credit of the same size.
    pub(crate) fn send(
        self,
        by: &mut dyn FnMut(&[&[u8]]) -> Sent,
        header: Header,
        bytes: &[u8],
    ) -> Result<bool, Served> {
        let Self { sender, credit } = self;
        let longest = sender.longest.load(Relaxed);
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let times = if header.method() == LAST_WORDS { 2 } else { 1 };
        let most = Count { notes: MOST.notes * times, bytes: longest * times };
        let turn = sender.try_enter().ok().filter(|_| len <= longest);
        let sent = Count {
            notes: sender.notes.load(Relaxed).wrapping_add(1),
            bytes: sender.bytes.load(Relaxed).wrapping_add(len),
        };
        let Some(_turn) = turn.filter(|_| credit.allows(sent, most)) else {
            credit.drop_one();
            return Ok(false);
        };
        sender.notes.store(sent.notes, Relaxed);
        sender.bytes.store(sent.bytes, Relaxed);
        send(by, header, bytes).inspect_err(|_| sender.state.store(BROKEN, Relaxed))?;
        Ok(true)
    }
}
