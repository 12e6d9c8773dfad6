//! One side of a barrier: its places, its waits, and what it knows of the peer. Which side it is, is a
//! type.

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

/// Looks that tell all there is at one moment: tokens first, rings, and the end behind them. Once a
/// deadline has passed there are no more: a peer that places without end always has news.
const LOOKS: usize = 3;

/// How soon to look again where the system cannot wait.
const RETRY: Duration = Duration::from_millis(2);

/// The parent's end. Only ends of parents can be given to [`sync_all`](crate::sync_all).
pub type ParentEnd<L = Page> = End<ParentSide, L>;

/// The child's end.
pub type ChildEnd<L = Page> = End<ChildSide, L>;

/// One process's end of a barrier. Dropping it, exiting or calling exec is an abort that queues
/// behind the tokens placed before.
///
/// Nothing of the peer is noticed until a call looks for it. Waiting calls have three forms: plain
/// (no timeout), `_until` (a deadline) and `try_` (never waits). To run out of time breaks nothing.
/// No call fails because of a signal (EINTR), and none allocates, locks or panics. Descriptors that
/// turn out not to work count as an abort of both sides. No wait is met once this side or the peer
/// has aborted, or the peer is gone and all its tokens are drained.
///
/// An end is not split again:
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

// A side is only a name, so what is true of one end is true of both.
assert_impl_all!(ParentEnd: Send, Sync);

impl<R: Role, L: Lane> End<R, L> {
    pub(crate) const fn new(rules: Rules, half: Half) -> Self {
        Self { rules, half, watch: None, kind: PhantomData }
    }

    /// Also watches the peer's process, by a duplicate of its pidfd: for a peer whose descriptors
    /// another process holds too, so its death does not close them. What the peer placed before its
    /// death counts, even if it was killed before it could wake this side.
    ///
    /// Takes a [`&Child`](crate::process::Child), or a borrowed pidfd of any origin: of clone3(2),
    /// or of [`pidfd_open`](crate::process::pidfd_open) for a child that libc forked or for the
    /// parent. A child without a pidfd (before kernel 5.3) adds nothing. The process watched
    /// before, if any, is not watched any more, and a descriptor of [`watch`](Self::watch) is
    /// closed: ask for it again.
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
    /// `EMFILE`. The end is dropped, which is an abort to the peer.
    pub fn watching<'fd>(
        mut self,
        process: impl Into<Option<BorrowedFd<'fd>>>,
    ) -> Result<Self, SystemError> {
        self.half.pidfd = process.into().map(duplicate).transpose()?.map(Held::from);
        self.watch = None;
        Ok(self)
    }

    /// Places a token. Never blocks. A death that was not noticed yet does not count.
    ///
    /// At most 1,073,741,823 tokens may be unread on the lane [`Page`], and more than can be placed
    /// one by one on [`Eventfd`](crate::Eventfd).
    ///
    /// # Errors
    /// [`MeetError::Ended`] and [`MeetError::Full`]. Nothing is placed, so no wait is for an answer
    /// to it.
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

    /// Aborts: the peer's waits end, also those for tokens that it has not read yet. Posted once;
    /// never waits. Returns whether the peer is not known to have ended its part.
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
    /// failed. The peer can read it even after this process has ended. See [`Reason::from_error`]
    /// for what is kept of the error. After an abort it does nothing.
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

    /// Aborts with a reason, as [`fail`](Self::fail) does. One without an error is
    /// `Reason::new(stage, Errno(0), text)`.
    pub fn fail_with(&mut self, reason: &Reason) {
        if !self.rules.has_aborted {
            leave(self.half.words(), self.half.index, reason);
        }
        self.abort();
    }

    /// Returns whether this side has aborted, or its descriptors turned out not to work.
    pub const fn has_aborted(&self) -> bool {
        self.rules.has_aborted
    }

    /// Returns how the peer has ended its part, as far as earlier calls have noticed. Makes no
    /// system call.
    pub const fn peer_abort(&self) -> Option<PeerAbort> {
        self.rules.peer
    }

    /// Returns the descriptors that a child must keep open for this end: three, a fourth where the
    /// barrier was opened for exec, and those of [`watching`](Self::watching) and
    /// [`watch`](Self::watch).
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.half.descriptors().chain(&self.watch).map(AsFd::as_fd)
    }

    /// Returns one descriptor for an event loop; opened by the first call and the same from then
    /// on, until [`watching`](Self::watching) (epoll(7)). It stays readable once the peer is gone.
    ///
    /// It is readable when a `try_` call may have news that came since the end was made or since
    /// the last [`arm`](Self::arm).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`; the end is as it was.
    pub fn watch(&mut self) -> Result<BorrowedFd<'_>, SystemError> {
        let watch = self.watch.take().map_or_else(|| self.open_watch(), Ok)?;
        let watch: &Held = self.watch.insert(watch);
        Ok(watch.as_fd())
    }

    /// Makes the descriptor of [`watch`](Self::watch) show what comes next. Call it after a
    /// `try_` call that was not met, before waiting for the descriptor.
    ///
    /// Returns false where news has come already: repeat the `try_` call. On the lane
    /// [`Eventfd`](crate::Eventfd) it has nothing to do.
    pub fn arm(&mut self) -> bool {
        let armed = read_bell::<L>(&self.half, read_now).and_then(|_| L::arm(&self.half));
        armed.inspect_err(|_| self.break_off()).unwrap_or(false)
    }

    /// Waits until every token of this side has been answered by one of the peer's; met at once
    /// where none is unanswered.
    ///
    /// # Errors
    /// [`Unmet::Aborted`], also after an abort of this side itself, and [`Unmet::Gone`].
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

    /// Looks whether [`sync`](Self::sync) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync(&mut self) -> Result<bool, Unmet> {
        self.wait_for(Rules::SYNC, Instant::PAST)
    }

    /// Waits until one more token of this side has been answered; met at once, without a system
    /// call, where none is unanswered.
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

    /// Looks whether [`sync_next`](Self::sync_next) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync_next(&mut self) -> Result<bool, Unmet> {
        self.wait_for(self.rules.sync_next(), Instant::PAST)
    }

    /// Waits until at least one token of the peer is newly drained, whatever this side placed.
    /// One drain takes all pending tokens, so two of them may satisfy only one such wait.
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

    /// Looks whether [`wait_next`](Self::wait_next) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_wait_next(&mut self) -> Result<bool, Unmet> {
        self.wait_for(self.rules.wait_next(), Instant::PAST)
    }

    /// Places a token and waits as [`sync`](Self::sync).
    ///
    /// # Errors
    /// See [`MeetError`]. Where the token is not placed it does not wait.
    pub fn place_and_sync(&mut self) -> Result<(), MeetError> {
        self.place()?;
        self.sync().map_err(MeetError::Unmet)
    }

    /// Places a token and waits as [`sync_until`](Self::sync_until).
    ///
    /// # Errors
    /// As [`place_and_sync`](Self::place_and_sync). At the deadline the token is placed, so
    /// [`sync_until`](Self::sync_until) goes on waiting.
    pub fn place_and_sync_until(&mut self, deadline: Instant) -> Result<(), MeetError> {
        self.place()?;
        self.sync_until(deadline).map_err(MeetError::Unmet)
    }

    /// Waits until the peer has aborted, exited or closed, and returns how; tokens on the way are
    /// swallowed. Allowed after an abort of this side.
    pub fn wait_abort(&mut self) -> PeerAbort {
        // Without a deadline the wait ends only when the peer's end is known.
        self.wait_abort_until(Instant::NEVER).unwrap_or(PeerAbort::Gone)
    }

    /// Waits as [`wait_abort`](Self::wait_abort), until a deadline; `None` where it has passed
    /// first.
    pub fn wait_abort_until(&mut self, deadline: Instant) -> Option<PeerAbort> {
        // Met where the peer's end is known afterwards, and else out of time.
        while self.wait_for(Goal::PeerAbort, deadline).is_err() && deadline > Instant::now() {
            // The system cannot wait for descriptors, but for a time.
            _ = wait(&mut [], Some(Instant::now() + RETRY));
        }
        self.peer_abort()
    }

    /// Looks whether the peer has ended its part; `None` while it has not.
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

    /// Waits; false where the deadline has passed.
    #[inline(never)] // Several callers, which are the same code for both sides.
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

    /// Gives up descriptors that do not work. The peer is told as far as they still do.
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

/// Which side an [`End`](crate::End) is of: [`ParentSide`] or [`ChildSide`].
pub trait Role: Sealed {}

impl<R: Sealed> Role for R {}

/// What a role means.
pub trait Sealed {
    /// Its place where both sides are listed.
    const INDEX: usize;
}

impl Sealed for ParentSide {
    const INDEX: usize = 0;
}

impl Sealed for ChildSide {
    const INDEX: usize = 1;
}
