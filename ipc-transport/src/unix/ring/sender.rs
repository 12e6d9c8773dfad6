//! The sending half.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use core::time::Duration;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::thread::futex;

use super::side::{BELL, FDS, Side};
use crate::contract::{MAX_FDS, Moved, TransportError};
use crate::memory::ring::cursor::{Asleep, Cursor};
use crate::memory::ring::producer::Producer;
use crate::memory::ring::track::{BrokenRing, Track};
use crate::unix::calls::{Calls, Mode};
use crate::waiting::{Interest, Watched, look};

/// How often something is tried again that only a peer can undo each time, which means harm.
pub(super) const ATTEMPTS: usize = 100;

/// How long a sleep on a word lasts at most before the peer's end is looked for at the socket. Longer
/// than a tick of the system's clock: an earlier timer has to be set in the processor, which costs 1 µs
/// of each sleep in a virtual machine.
const ON_WORD: Duration = Duration::from_millis(20);

/// The sending half of one end. Only one thread may send at a time.
#[derive(Clone, Copy, Debug)]
pub struct RingSender<'a> {
    pub(super) socket: BorrowedFd<'a>,
    /// Without words the socket does all.
    pub(super) words: &'a [AtomicU32],
    pub(super) side: Side,
    out: &'a Producer,
    /// The other side sleeps at the socket, and there was no memory for a bell.
    owes: &'a AtomicBool,
}

impl<'a> RingSender<'a> {
    #[inline]
    pub(super) const fn new(
        socket: BorrowedFd<'a>,
        words: &'a [AtomicU32],
        side: Side,
        out: &'a Producer,
        owes: &'a AtomicBool,
    ) -> Self {
        Self { socket, words, side, out, owes }
    }

    /// Sends, and waits for room.
    ///
    /// # Errors
    /// As [`Transport::send`](crate::Transport::send).
    pub fn send(self, pieces: &[&[u8]]) -> Moved {
        self.send_in(Mode::Blocking, pieces, &[])
    }

    #[inline]
    pub(super) fn send_in(self, mode: Mode, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(None);
        }
        let Some(track) = self.side.outgoing(self.words) else {
            return Calls { fd: self.socket, mode }.send(pieces, usize::MAX, fds);
        };
        self.ring_again();
        if !fds.is_empty() {
            // They go first: once the bytes are seen, they are there.
            let calls = Calls { fd: self.socket, mode };
            if !self.wait_for_room(track, mode)? || calls.send(&[&[FDS]], 1, fds)?.is_none() {
                return Ok(None);
            }
        }
        loop {
            if let Some(put) = self.out.put(track, pieces, !fds.is_empty())? {
                self.wake(track.head, put.asleep);
                return Ok(Some(put.len));
            }
            if !self.wait_for_room(track, mode)? {
                return Ok(None);
            }
        }
    }

    /// Waits for room, if it may, and returns whether there is some. Where it may not, the socket
    /// will show when there is.
    #[inline(never)]
    fn wait_for_room(self, track: Track<'_>, mode: Mode) -> Result<bool, TransportError> {
        let mut moves = 0;
        while self.out.room(track, 1)? == 0 {
            let how = if mode == Mode::Blocking { Asleep::OnWord } else { Asleep::OnSocket };
            let asleep = track.tail.sleep(self.out.tail(), how);
            if asleep.is_some() && self.is_over()? {
                return Err(TransportError::Closed);
            }
            self.ring_again();
            match (mode, asleep) {
                (Mode::Blocking, Some(word)) => _ = sleep(track.tail, word),
                (Mode::NonBlocking, Some(_)) => return Ok(false),
                // A peer that reads makes room by the second time that it goes on.
                (_, None) if moves < ATTEMPTS => moves += 1,
                (_, None) => return Err(TransportError::BrokenRing),
            }
        }
        Ok(true)
    }

    /// Returns whether the peer is gone. One that only sends no more still receives.
    pub(super) fn is_over(self) -> Result<bool, TransportError> {
        let seen = look(Watched::new(self.socket, Interest::End));
        Ok(seen.map_err(TransportError::System)?.is_over())
    }

    /// Wakes the other side, if it sleeps until this one goes on.
    #[inline]
    pub(super) fn wake(self, cursor: Cursor<'_>, asleep: Asleep) {
        match asleep {
            Asleep::No => {}
            // One that sleeps on a word wakes by itself soon, where this is refused.
            Asleep::OnWord => _ = futex::wake(cursor.word(), futex::Flags::empty(), 1),
            Asleep::OnSocket => self.ring(),
        }
    }

    /// Lets the other side's socket show input. Where it is full it does already; where the system is
    /// short of memory, a later call rings.
    #[inline(never)]
    fn ring(self) {
        let calls = Calls { fd: self.socket, mode: Mode::NonBlocking };
        if matches!(calls.send(&[&[BELL]], 1, &[]), Err(TransportError::Exhausted(_))) {
            self.owes.store(true, Relaxed);
        }
    }

    /// Rings where there was no memory for it.
    #[inline]
    pub(super) fn ring_again(self) {
        if self.owes() && self.owes.swap(false, Relaxed) {
            self.ring();
        }
    }

    /// Returns whether another call is to ring: the caller must not wait.
    #[inline]
    pub(super) fn owes(self) -> bool {
        self.owes.load(Relaxed)
    }
}

impl From<BrokenRing> for TransportError {
    fn from(_: BrokenRing) -> Self {
        Self::BrokenRing
    }
}

/// Sleeps until the word changes or the other side wakes it, for at most [`ON_WORD`] (futex(2)). The
/// other side is another process, so the futex is not a private one.
pub(super) fn sleep(cursor: Cursor<'_>, word: u32) -> Result<(), Errno> {
    let longest = ON_WORD.try_into().ok();
    futex::wait(cursor.word(), futex::Flags::empty(), word, longest.as_ref())
}
