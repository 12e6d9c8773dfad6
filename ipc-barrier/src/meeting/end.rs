//! One side of a barrier: placing, waiting, and what it knows about the peer. The side is a type.

use core::error::Error;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, above_stdio, duplicate, wait};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd};
use static_assertions::assert_impl_all;

use super::errors::{MeetError, PeerAbort, Unmet};
use super::held::Held;
use super::lane::{Fault, Half, Lane};
use super::memory::{leave, reason};
use super::page::Page;
use super::rules::{ABORT, Goal, Rules, TOKEN};
use super::wait::{look, read_bell, read_now};
use crate::process::Reason;

/// How many looks find everything that has happened so far: tokens, then rings, then the peer's
/// end. After the deadline there are no further looks, because a peer that places tokens without
/// end always has news.
const LOOKS: usize = 3;

/// How soon to look again if the system cannot poll.
const RETRY: Duration = Duration::from_millis(2);

/// The parent's end. [`sync_all`](crate::sync_all) takes only these.
pub type ParentEnd<L = Page> = End<ParentSide, L>;

/// The child's end.
pub type ChildEnd<L = Page> = End<ChildSide, L>;

/// One process's end of a barrier.
///
/// Waiting calls come in three forms: plain (no timeout), `_until` (deadline) and `try_` (never
/// waits). A timeout breaks nothing: repeat the call. No call fails with `EINTR`, and none
/// allocates, locks or panics. News from the peer is noticed only during a call.
///
/// Dropping an end, exiting or calling exec tells the peer that this side is gone, after all tokens
/// that it placed. No wait succeeds once a side has aborted, or the peer is gone and all its tokens
/// are drained. If a descriptor does not work, both sides count as aborted.
///
/// An end cannot be split again:
///
/// ```compile_fail,E0599
/// let mut end = ipc_barrier::Barrier::new()?.into_parent();
/// end.into_child();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// let mut end = ipc_barrier::Barrier::new()?.into_parent();
/// end.abort();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "pthread_barrier_wait")]
#[derive(Debug)]
pub struct End<R, L = Page> {
    pub(crate) rules: Rules,
    pub(crate) half: Half,
    watch: Option<Held>,
    kind: PhantomData<(R, L)>,
}

// A side is only a marker type, so this holds for both ends.
assert_impl_all!(ParentEnd: Send, Sync);

impl<R: Role, L: Lane> End<R, L> {
    pub(crate) const fn new(rules: Rules, half: Half) -> Self {
        Self { rules, half, watch: None, kind: PhantomData }
    }

    /// Also watches the peer's process, through a duplicate of its pidfd. This notices the peer's
    /// death even if another process holds the peer's descriptors open. Tokens that the peer placed
    /// before its death count, even if it was killed before it could wake this side.
    ///
    /// Takes a [`&Child`](crate::process::Child), or a borrowed pidfd from any source: from
    /// clone3(2), or from [`pidfd_open`](crate::process::pidfd_open) for the parent or for a child
    /// that libc forked. A child without a pidfd (before kernel 5.3) changes nothing.
    ///
    /// A second call replaces the watched process. Each call closes the descriptor of
    /// [`watch`](Self::watch): call `watch` again.
    ///
    /// ```
    /// use ipc_barrier::{Barrier, fd::AsFd, process::pidfd_open};
    ///
    /// let parent = pidfd_open(std::os::unix::process::parent_id().try_into()?)?;
    /// let end = Barrier::new()?.into_child().watching(parent.as_fd())?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// `EMFILE`. The end is dropped, so the peer sees this side as gone.
    pub fn watching<'fd>(
        mut self,
        process: impl Into<Option<BorrowedFd<'fd>>>,
    ) -> Result<Self, SystemError> {
        self.half.pidfd = process.into().map(duplicate).transpose()?.map(Held::from);
        self.watch = None;
        Ok(self)
    }

    /// Places a token. Never blocks. Succeeds even if the peer has died, unless an earlier call
    /// noticed that.
    ///
    /// On the lane [`Page`], at most 1,073,741,823 tokens may be unread. The lane
    /// [`Eventfd`](crate::Eventfd) has no limit that can be reached.
    ///
    /// # Errors
    /// [`MeetError::Ended`] or [`MeetError::Full`]. The token is not placed, so no wait expects an
    /// answer to it.
    #[inline(never)]
    pub fn place(&mut self) -> Result<(), MeetError> {
        if self.rules.is_open() {
            match L::post(&self.half, TOKEN) {
                Ok(true) => {
                    self.rules.placed();
                    return Ok(());
                }
                Ok(false) => return Err(MeetError::Full),
                Err(_) => self.break_off(),
            }
        }
        Err(MeetError::Ended(self.rules.unmet()))
    }

    /// Aborts: ends all waits of the peer, even if tokens are still unread. Never waits. A second
    /// call does nothing. Returns false if the peer is already known to have aborted or gone.
    pub fn abort(&mut self) -> bool {
        if self.rules.abort() && L::post(&self.half, ABORT).is_err() {
            self.rules.broken();
            // The peer sees this side's descriptor close instead.
            if let Ok(other) = duplicate(self.half.incoming.as_fd()) {
                self.half.own = other.into();
            }
        }
        self.rules.peer.is_none()
    }

    /// Aborts with a reason: the stage (a name or number), the error, and a text that says what
    /// failed. The peer can read the reason even after this process has ended.
    /// [`Reason::from_error`] says which parts of the error it keeps. After an abort, this call
    /// does nothing.
    ///
    /// ```
    /// use ipc_barrier::{Barrier, Errno};
    ///
    /// let mut end = Barrier::new()?.into_parent();
    /// end.fail("pivot_root", &Errno(1), "/srv/root");
    /// assert!(end.has_aborted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&mut self, stage: impl fmt::Display, error: &(dyn Error + 'static), text: &str) {
        self.fail_with(&Reason::from_error(stage, error, text));
    }

    /// Aborts with a reason, as [`fail`](Self::fail) does. For a reason without an error, use
    /// `Reason::new(stage, Errno(0), text)`.
    pub fn fail_with(&mut self, reason: &Reason) {
        if !self.rules.has_aborted {
            leave(self.half.words(), self.half.index, reason);
        }
        self.abort();
    }

    /// Returns whether this side has aborted, or a descriptor does not work.
    pub const fn has_aborted(&self) -> bool {
        self.rules.has_aborted
    }

    /// Returns how the peer left, if an earlier call has noticed it. Makes no system call.
    pub const fn peer_abort(&self) -> Option<PeerAbort> {
        self.rules.peer
    }

    /// Returns the descriptors that this end needs, for a child that closes all others: three, a
    /// fourth if the barrier was opened for exec, and those of [`watching`](Self::watching) and
    /// [`watch`](Self::watch).
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.half.descriptors().chain(&self.watch).map(AsFd::as_fd)
    }

    /// Returns one descriptor for an event loop (an epoll(7) instance). The first call opens it,
    /// and later calls return the same one until [`watching`](Self::watching) is called.
    ///
    /// It becomes readable when there is news since the end was made or since the last
    /// [`arm`](Self::arm). Then make a `try_` call. Once the peer is gone, it stays readable.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM` or `ENOSPC`. The end is unchanged.
    pub fn watch(&mut self) -> Result<BorrowedFd<'_>, SystemError> {
        let watch = self.watch.take().map_or_else(|| self.open_watch(), Ok)?;
        let watch: &Held = self.watch.insert(watch);
        Ok(watch.as_fd())
    }

    /// Makes the descriptor of [`watch`](Self::watch) show the next news. Call it after a `try_`
    /// call that was not met, before you wait for the descriptor.
    ///
    /// Returns false if news has already arrived: repeat the `try_` call. On the lane
    /// [`Eventfd`](crate::Eventfd) it does nothing and returns true.
    pub fn arm(&mut self) -> bool {
        let armed = read_bell::<L>(&self.half, read_now).and_then(|_| L::arm(&self.half));
        armed.inspect_err(|_| self.break_off()).unwrap_or(false)
    }

    /// Waits until the peer has answered every token of this side with one of its tokens. Returns
    /// at once if none is unanswered.
    ///
    /// # Errors
    /// [`Unmet::Aborted`] (also after an abort of this side), [`Unmet::Gone`], or
    /// [`Unmet::System`].
    pub fn sync(&mut self) -> Result<(), Unmet> {
        self.met(Rules::SYNC, Instant::NEVER)
    }

    /// Waits as [`sync`](Self::sync), until a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn sync_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.met(Rules::SYNC, deadline)
    }

    /// Returns whether [`sync`](Self::sync) is met now. Never waits.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync(&mut self) -> Result<bool, Unmet> {
        self.wait_for(Rules::SYNC, Instant::PAST)
    }

    /// Waits until the peer has answered one more token of this side. Returns at once, without a
    /// system call, if none is unanswered.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn sync_next(&mut self) -> Result<(), Unmet> {
        self.met(self.rules.sync_next(), Instant::NEVER)
    }

    /// Waits as [`sync_next`](Self::sync_next), until a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn sync_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.met(self.rules.sync_next(), deadline)
    }

    /// Returns whether [`sync_next`](Self::sync_next) is met now. Never waits.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync_next(&mut self) -> Result<bool, Unmet> {
        self.wait_for(self.rules.sync_next(), Instant::PAST)
    }

    /// Waits for at least one new token of the peer, however many this side has placed. The wait
    /// takes all pending tokens, so two tokens may satisfy only one such wait.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn wait_next(&mut self) -> Result<(), Unmet> {
        self.met(self.rules.wait_next(), Instant::NEVER)
    }

    /// Waits as [`wait_next`](Self::wait_next), until a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn wait_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.met(self.rules.wait_next(), deadline)
    }

    /// Returns whether [`wait_next`](Self::wait_next) is met now. Never waits.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_wait_next(&mut self) -> Result<bool, Unmet> {
        self.wait_for(self.rules.wait_next(), Instant::PAST)
    }

    /// Places a token and waits as [`sync`](Self::sync).
    ///
    /// # Errors
    /// See [`MeetError`]. If the token cannot be placed, the call does not wait.
    pub fn place_and_sync(&mut self) -> Result<(), MeetError> {
        self.place()?;
        self.sync().map_err(MeetError::Unmet)
    }

    /// Places a token and waits as [`sync_until`](Self::sync_until).
    ///
    /// # Errors
    /// As [`place_and_sync`](Self::place_and_sync). After [`Unmet::TimedOut`] the token stays
    /// placed, so call [`sync_until`](Self::sync_until) to continue waiting.
    pub fn place_and_sync_until(&mut self, deadline: Instant) -> Result<(), MeetError> {
        self.place()?;
        self.sync_until(deadline).map_err(MeetError::Unmet)
    }

    /// Waits until the peer aborts, exits or closes its end, and returns which. Takes and ignores
    /// tokens. May be called after an abort of this side.
    pub fn wait_abort(&mut self) -> PeerAbort {
        // Without a deadline, the wait ends only once the peer has left.
        self.wait_abort_until(Instant::NEVER).unwrap_or(PeerAbort::Gone)
    }

    /// Waits as [`wait_abort`](Self::wait_abort), until a deadline. Returns `None` if the deadline
    /// passes first.
    pub fn wait_abort_until(&mut self, deadline: Instant) -> Option<PeerAbort> {
        // Whether it was met shows in `peer_abort`. An error means that the system cannot poll.
        while self.wait_for(Goal::PeerAbort, deadline).is_err() && deadline > Instant::now() {
            // It can still sleep.
            _ = wait(&mut [], Some(Instant::now() + RETRY));
        }
        self.peer_abort()
    }

    /// Returns how the peer left, or `None` if it has not. Never waits.
    pub fn try_wait_abort(&mut self) -> Option<PeerAbort> {
        self.wait_abort_until(Instant::PAST)
    }

    fn open_watch(&self) -> Result<Held, SystemError> {
        use epoll::{EventData, EventFlags};
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC);
        let watch = above_stdio(watch.map_err(SystemError::of("epoll_create1"))?)?;
        for (fd, interest) in self.half.sources::<L>() {
            let is_end = interest == Interest::End;
            let flags = if is_end { EventFlags::empty() } else { EventFlags::IN };
            let added = epoll::add(&watch, fd, EventData::new_u64(0), flags);
            added.map_err(SystemError::of("epoll_ctl"))?;
        }
        Ok(watch.into())
    }

    fn met(&mut self, goal: Goal, deadline: Instant) -> Result<(), Unmet> {
        if self.wait_for(goal, deadline)? { Ok(()) } else { Err(Unmet::TimedOut) }
    }

    /// Waits. Returns false if the deadline has passed.
    #[inline(never)] // Many callers; both sides share this code.
    fn wait_for(&mut self, goal: Goal, deadline: Instant) -> Result<bool, Unmet> {
        let mut looks = 0..LOOKS;
        loop {
            if self.rules.is_met(goal)? {
                return Ok(true);
            }
            if looks.next().is_none() && deadline <= Instant::now() {
                return Ok(false);
            }
            match look::<L>(&self.half, deadline) {
                Ok(None) => return Ok(false),
                Ok(Some(value)) => {
                    let half = &self.half;
                    self.rules.drained(value, || reason(half.words(), half.index ^ 1));
                }
                Err(Fault::Broken) => self.break_off(),
                Err(Fault::Wait(error)) => return Err(Unmet::System(error)),
            }
        }
    }

    /// Gives up after a descriptor failed. Tells the peer, if the descriptors still allow it.
    fn break_off(&mut self) {
        self.abort();
        self.rules.broken();
    }
}

/// Marks the parent's [`End`](crate::End).
#[derive(Debug)]
pub enum ParentSide {}

/// Marks the child's [`End`](crate::End).
#[derive(Debug)]
pub enum ChildSide {}

/// The side of an [`End`](crate::End): [`ParentSide`] or [`ChildSide`]. The trait is sealed.
pub trait Role: Sealed {}

impl<R: Sealed> Role for R {}

/// The properties of a role.
pub trait Sealed {
    /// The side's index in lists of both sides.
    const INDEX: usize;
}

impl Sealed for ParentSide {
    const INDEX: usize = 0;
}

impl Sealed for ChildSide {
    const INDEX: usize = 1;
}
