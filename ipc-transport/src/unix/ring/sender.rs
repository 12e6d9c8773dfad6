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

/// How often a step is retried that only a hostile peer can undo every time.
pub(super) const ATTEMPTS: usize = 100;

/// The longest sleep on a word, before the socket is checked for the end of the peer. It is longer
/// than a clock tick: for a shorter one the kernel must program the hardware timer, which costs 1
/// µs in a virtual machine.
const ON_WORD: Duration = Duration::from_millis(20);

/// The sending half of one end. Only one thread may send at a time.
#[derive(Clone, Copy, Debug)]
pub struct RingSender<'a> {
    pub(super) socket: BorrowedFd<'a>,
    /// If empty, everything goes over the socket.
    pub(super) words: &'a [AtomicU32],
    pub(super) side: Side,
    out: &'a Producer,
    /// The other side waits at the socket, and the kernel had no memory to send a bell.
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

    /// Sends, waiting for room.
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
        let rung = self.ring_again();
        if !fds.is_empty() {
            // The bell of earlier bytes goes before any descriptors.
            rung?;
            if !self.wait_for_room(track, mode)? || !self.send_ahead(track, mode, fds)? {
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

    /// Sends descriptors ahead of their bytes and returns whether it did. If the mode forbids
    /// waiting and the socket is full, it returns false, and this side's socket will show when there
    /// is room.
    #[inline(never)]
    fn send_ahead(
        self,
        track: Track<'_>,
        mode: Mode,
        fds: &[BorrowedFd<'_>],
    ) -> Result<bool, TransportError> {
        let calls = Calls { fd: self.socket, mode };
        let message = [FDS | self.out.number()];
        if calls.send(&[&message], 1, fds)?.is_some() {
            return Ok(true);
        }
        let sleep = |_| track.tail.sleep(track.tail.position(), Asleep::OnSocket).is_some();
        if !(0..ATTEMPTS).any(sleep) {
            return Err(TransportError::BrokenRing);
        }
        // If the socket is still full, the peer has yet to take something, and wakes this side.
        Ok(calls.send(&[&message], 1, fds)?.is_some())
    }

    /// Waits for room and returns whether there is some. If the mode forbids waiting, it returns
    /// false, and the socket will show when there is room.
    #[inline(never)]
    fn wait_for_room(self, track: Track<'_>, mode: Mode) -> Result<bool, TransportError> {
        let mut moves = 0;
        while self.out.room(track, 1)? == 0 {
            let how = if mode == Mode::Blocking { Asleep::OnWord } else { Asleep::OnSocket };
            let asleep = track.tail.sleep(self.out.tail(), how);
            if asleep.is_some() && self.is_over()? {
                return Err(TransportError::Closed);
            }
            _ = self.ring_again();
            match (mode, asleep) {
                (Mode::Blocking, Some(word)) => _ = sleep(track.tail, word),
                (Mode::NonBlocking, Some(_)) => return Ok(false),
                // An honest peer has made room by its second move.
                (_, None) if moves < ATTEMPTS => moves += 1,
                (_, None) => return Err(TransportError::BrokenRing),
            }
        }
        Ok(true)
    }

    /// Returns whether the peer is gone. A peer that only shut down sending still receives.
    pub(super) fn is_over(self) -> Result<bool, TransportError> {
        let seen = look(Watched::new(self.socket, Interest::End));
        Ok(seen.map_err(TransportError::System)?.is_over())
    }

    /// Wakes the other side if it sleeps until this side moves on.
    #[inline]
    pub(super) fn wake(self, cursor: Cursor<'_>, asleep: Asleep) {
        match asleep {
            Asleep::No => {}
            // If this is refused, the sleep on the word soon ends by itself.
            Asleep::OnWord => _ = futex::wake(cursor.word(), futex::Flags::empty(), 1),
            Asleep::OnSocket => _ = self.ring(),
        }
    }

    /// Sends a bell, so that the other side's socket shows input. A full socket shows it already.
    /// If the kernel is short of memory, a later call sends the bell.
    #[inline(never)]
    fn ring(self) -> Moved {
        let rung = Calls { fd: self.socket, mode: Mode::NonBlocking }.send(&[&[BELL]], 1, &[]);
        if matches!(rung, Err(TransportError::Exhausted(_))) {
            self.owes.store(true, Relaxed);
        }
        rung
    }

    /// Sends the bell that an earlier call had no memory for.
    #[inline]
    pub(super) fn ring_again(self) -> Moved {
        if self.owes() && self.owes.swap(false, Relaxed) { self.ring() } else { Ok(None) }
    }

    /// Returns whether a bell is still to be sent: the caller must not wait.
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

/// Sleeps until the word changes or the other side wakes this one, for at most [`ON_WORD`]
/// (futex(2)). The other side is another process, so the futex is not private.
pub(super) fn sleep(cursor: Cursor<'_>, word: u32) -> Result<(), Errno> {
    let longest = ON_WORD.try_into().ok();
    futex::wait(cursor.word(), futex::Flags::empty(), word, longest.as_ref())
}
