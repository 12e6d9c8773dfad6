//! Both halves of an end, as a transport.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

use rustix::fd::BorrowedFd;
use rustix::net::RecvFlags;
use rustix::net::sockopt::{Timeout, socket_timeout};

use super::sender::{ATTEMPTS, RingSender, sleep};
use super::side::{BELL, FDS, Side};
use crate::contract::{Carry, Fds, Moved, Received, TransportError};
use crate::memory::ring::consumer::{Consumer, Next};
use crate::memory::ring::cursor::Asleep;
use crate::memory::ring::track::Track;
use crate::unix::calls::{Calls, Mode, Way};
use crate::unix::socket::Kind;
use crate::unix::stream::Bytes;
use crate::waiting::{Instant, Interest, Patience, Watched, wait};

/// How long descriptors may wait in the socket for their bytes.
const UNCLAIMED: Duration = Duration::from_secs(1);

/// How many bytes of the socket one call peeks at.
const BELLS: usize = 16;

/// How often a spin loop reads the word before it reads the clock.
const LOOKS: usize = 64;

/// The private state of the receiving half.
#[derive(Debug)]
pub(super) struct RingInput {
    consumer: Consumer,
    /// The socket will show the next input.
    shows: bool,
    /// The socket has ended.
    closed: bool,
    /// Since when the socket has held descriptors whose bytes have not come.
    unclaimed: Option<Instant>,
}

/// An end of a ring over its socket and its words. With a `patience` its calls wait, as those of
/// [`Blocking`](crate::Blocking) do.
#[derive(Debug)]
pub struct RingLink<'a> {
    sender: RingSender<'a>,
    input: &'a mut RingInput,
    patience: Option<Patience>,
}

impl RingInput {
    pub(super) const fn new() -> Self {
        Self { consumer: Consumer::new(), shows: false, closed: false, unclaimed: None }
    }

    pub(super) const fn shows(&self) -> bool {
        self.shows
    }

    pub(super) fn holds(&self, words: &[AtomicU32], side: Side) -> bool {
        side.incoming(words).is_some_and(|track| !self.consumer.is_empty(track))
    }
}

impl<'a> RingLink<'a> {
    #[inline]
    pub(super) fn new(
        sender: RingSender<'a>,
        input: &'a mut RingInput,
        patience: Option<Patience>,
    ) -> Self {
        Self { sender, input, patience }
    }

    /// Returns the sending half. Only one thread may send at a time.
    pub const fn sender(&self) -> RingSender<'a> {
        self.sender
    }

    /// Stops showing input at the socket, before a receive that waits.
    #[inline]
    pub fn stop_showing(&mut self) {
        if let (true, Some(track)) = (self.input.shows, self.incoming()) {
            // Input that came meanwhile was shown, and is there.
            self.sleep(track, Asleep::No);
            self.input.shows = false;
        }
    }

    /// Returns an upper estimate of how many bytes there are to receive.
    pub fn waiting(&self) -> usize {
        self.incoming().map_or(0, |track| self.input.consumer.waiting(track))
    }

    #[inline]
    fn incoming(&self) -> Option<Track<'a>> {
        self.sender.side.incoming(self.sender.words)
    }

    fn mode(&self) -> Mode {
        self.patience.map_or(Mode::NonBlocking, |_| Mode::Blocking)
    }

    fn calls(&self, mode: Mode) -> Calls<'a> {
        Calls { fd: self.sender.socket, mode }
    }

    /// Reads the socket: takes bells and notes the end. Returns false if there was nothing, after
    /// the wait that the mode allows.
    #[inline(never)]
    fn listen(&mut self, track: Track<'_>, mode: Mode) -> Result<bool, TransportError> {
        let mut space = [0; BELLS];
        let seen = self.calls(mode).repeat("recv", Way::Receive, |fd, mode| {
            let flags = RecvFlags::from_bits_retain(mode as u32) | RecvFlags::PEEK;
            rustix::net::recv(fd, &mut space[..], flags).map(|(len, _)| len)
        });
        let len = match seen {
            Ok(Some(0)) | Err(TransportError::Closed) => {
                self.input.closed = true;
                return Ok(true);
            }
            seen => match seen? {
                Some(len) => len,
                None => return Ok(false),
            },
        };
        let seen = space.get(..len).unwrap_or_default();
        let bells = seen.iter().take_while(|&&byte| byte == BELL).count();
        if bells > 0 {
            let bells = space.get_mut(..bells).unwrap_or_default();
            _ = self.calls(Mode::NonBlocking).receive(bells)?;
            // The other side may wait for room in the socket.
            self.sender.wake(track.tail, self.input.consumer.publish(track));
            return Ok(true);
        }
        if self.sender.is_over()? {
            // The peer sent these descriptors and ended before it wrote their bytes.
            self.input.closed = true;
            return Ok(true);
        }
        // The bytes of these descriptors are about to come.
        let now = Instant::now();
        let since = *self.input.unclaimed.get_or_insert(now);
        let is_late = seen.first() != Some(&self.message()) || now.since(since) > UNCLAIMED;
        if is_late { Err(TransportError::BrokenRing) } else { Ok(true) }
    }

    /// The message that carries the next descriptors.
    fn message(&self) -> u8 {
        FDS | self.input.consumer.number()
    }

    /// Receives the descriptors of the next bytes from the socket, and the bells before them.
    /// Returns whether some did not fit.
    fn fetch(&mut self, fds: &mut Fds<'_>) -> Result<bool, TransportError> {
        self.input.unclaimed = None;
        let (calls, held) = (self.calls(Mode::NonBlocking), fds.len());
        for _ in 0..ATTEMPTS {
            let mut space = [0; BELLS];
            // A receive ends after the byte that brings descriptors.
            let received = match fds.room() {
                0 => calls.receive(&mut space),
                _ => calls.receive_with([&mut space], fds),
            };
            let (len, fds_truncated) = match received {
                Ok(Some(Received { len, fds_truncated })) => (len, fds_truncated),
                Ok(None) | Err(TransportError::Closed) => break,
                Err(error) => return Err(error),
            };
            let taken = space.get(..len).unwrap_or_default();
            // One of these bells may have announced the bytes.
            self.input.shows &= taken.first() != Some(&BELL);
            match taken.last() {
                Some(&BELL) if fds.len() == held => {}
                Some(&last) if last == self.message() => return Ok(fds_truncated),
                _ => break,
            }
        }
        fds.truncate(held);
        Err(TransportError::BrokenRing)
    }

    /// Waits for input or the end; returns false if nothing came. If the mode forbids waiting, it
    /// lets the socket show the next input instead. After a spurious wake-up there is a deadline.
    #[inline(never)]
    fn wait(
        &mut self,
        track: Track<'_>,
        deadline: Option<Instant>,
    ) -> Result<bool, TransportError> {
        let Some(Patience { spin }) = self.patience else {
            let rung = self.listen(track, Mode::NonBlocking)?;
            let shows = self.show(track);
            // The bell may have meant room for this side's own frames: it has to look again.
            self.input.shows &= !rung;
            return Ok(self.input.closed || !shows);
        };
        self.stop_showing();
        _ = self.sender.ring_again();
        let Some(end) = self.input.consumer.end() else { return Ok(true) };
        let head = track.head;
        if !spin.is_zero() {
            let until = Instant::now() + spin;
            loop {
                for _ in 0..LOOKS {
                    if head.position() != end {
                        return Ok(true);
                    }
                    core::hint::spin_loop();
                }
                if Instant::now() >= until {
                    break;
                }
            }
        }
        match self.sleep(track, Asleep::OnWord) {
            Some(word) => _ = sleep(head, word),
            None => return Ok(true),
        }
        if self.sender.owes() || self.sleep(track, Asleep::OnSocket).is_none() {
            return Ok(true);
        }
        let mode = match deadline {
            None => Mode::Blocking,
            Some(deadline) => {
                let mut watched = [Watched::new(self.sender.socket, Interest::Input)];
                wait(&mut watched, Some(deadline)).map_err(TransportError::System)?;
                Mode::NonBlocking
            }
        };
        Ok(self.listen(track, mode)? || head.position() != end)
    }

    /// Returns the deadline of a receive after a spurious wake-up, if it has a timeout.
    fn deadline(&self) -> Option<Instant> {
        let timeout = socket_timeout(self.sender.socket, Timeout::Recv).unwrap_or_default();
        timeout.map(|timeout| Instant::now() + timeout)
    }

    /// Lets the socket show the next input. Returns false if there is already some.
    #[inline]
    fn show(&mut self, track: Track<'_>) -> bool {
        self.input.shows = self.sleep(track, Asleep::OnSocket).is_some();
        self.input.shows
    }

    /// Announces how this side will sleep until there is input. Returns `None` if there is already
    /// some.
    #[inline]
    fn sleep(&self, track: Track<'_>, how: Asleep) -> Option<u32> {
        track.head.sleep(self.input.consumer.end()?, how)
    }
}

impl Carry for RingLink<'_> {
    #[inline]
    fn send_fds(&mut self, pieces: &[&[u8]], fds: &[BorrowedFd<'_>]) -> Moved {
        self.sender.send_in(self.mode(), pieces, fds)
    }

    fn receive_fds(&mut self, space: &mut [u8], fds: &mut Fds<'_>) -> Moved<Received> {
        let Some(track) = self.incoming() else {
            return Bytes.receive(self.calls(self.mode()), space, fds);
        };
        if space.is_empty() {
            return Ok(None);
        }
        _ = self.sender.ring_again();
        let mut deadline = None;
        for attempt in 0..ATTEMPTS {
            let Some(next) = self.input.consumer.next(track)? else {
                if self.input.closed {
                    return Err(TransportError::Closed);
                }
                if attempt > 0 {
                    deadline = deadline.or_else(|| self.deadline());
                }
                let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
                if is_late || !self.wait(track, deadline)? {
                    return Ok(None);
                }
                continue;
            };
            let (mut fds_truncated, mut limit) = (false, usize::MAX);
            if next == Next::WithFds {
                fds_truncated = self.fetch(fds)?;
                // Bytes of a later call must not come with them.
                limit = self.input.consumer.fetched();
            }
            if self.patience.is_none() && self.input.shows {
                // The bell that announced these bytes. It comes before later descriptors.
                _ = self.calls(Mode::NonBlocking).receive(&mut [0]);
            }
            let limit = limit.min(space.len());
            let space = space.get_mut(..limit).unwrap_or_default();
            let (len, asleep) = self.input.consumer.take(track, space);
            self.sender.wake(track.tail, asleep);
            if self.patience.is_none() {
                self.show(track);
            }
            return Ok(Some(Received { len, fds_truncated }));
        }
        Ok(None)
    }

    fn holds(&self) -> bool {
        self.input.holds(self.sender.words, self.sender.side) || self.sender.owes()
    }
}
