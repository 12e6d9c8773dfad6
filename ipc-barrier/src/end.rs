//! One side of a barrier: its places, its waits, and what it knows of the peer.

use core::marker::PhantomData;

use ipc_transport::{Errno, Instant, Patience, SystemError, above_stdio};
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::child::Child;
use crate::lane::{self, AT_ONCE, Broken, Half, Lane, Page, Post, Seen, Sleeper};
use crate::reason::{self, Reason, Stage};
use crate::role::{ChildSide, ParentSide, Role};
use crate::rules::{Cause, Goal, Progress, Rules};
use crate::unmet::Unmet;

/// Looks that tell all there is at one moment: tokens first, and the end behind them. Once a
/// deadline has passed there are no more, since a peer that places without end has always news.
const LOOKS: usize = 2;

/// The parent's end. It alone can be [`watching`](End::watching) a process, and stand among the
/// ends of [`sync_all`](crate::sync_all).
pub type ParentEnd<L = Page> = End<ParentSide, L>;

/// The child's end. The parent's process it cannot watch:
///
/// ```compile_fail,E0599
/// use ipc_barrier::{Child, ChildEnd, ParentEnd};
///
/// fn watch(end: ChildEnd, child: &Child) -> bool {
///     end.watching(child).is_ok()
/// }
/// ```
///
/// ```
/// use ipc_barrier::{Child, ChildEnd, ParentEnd};
///
/// fn watch(end: ParentEnd, child: &Child) -> bool {
///     end.watching(child).is_ok()
/// }
/// ```
pub type ChildEnd<L = Page> = End<ChildSide, L>;

/// One side of a barrier, of which each process has one. Dropping it, exiting or calling exec is an
/// abortion that queues behind the tokens placed before.
///
/// Nothing of the peer is noticed until a call looks for it. Waiting calls come in three forms:
/// plain ones wait for ever, `_until` ones to a deadline of the monotonic clock in nanoseconds, and
/// `try_` ones not at all. To run out of time breaks nothing. No call sees signals (EINTR), and none
/// allocates, locks or panics. Descriptors that turn out not to work count as an abortion of both
/// sides.
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
/// end.place();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "pthread_barrier_wait")]
#[derive(Debug)]
pub struct End<R, L = Page> {
    pub(crate) rules: Rules,
    pub(crate) half: Half,
    pidfd: Option<OwnedFd>,
    sleeper: Sleeper,
    patience: Patience,
    watch: Option<OwnedFd>,
    kind: PhantomData<(R, L)>,
}

impl<L: Lane> ParentEnd<L> {
    /// Also watches the process itself, by a descriptor of its own: for a child whose ends are
    /// also held by another process, so that its death does not close them. Where there is no
    /// [pidfd](Child::pidfd) (kernel 5.3), nothing is added. What the child placed before its death
    /// counts, also where it was killed before it could wake this side.
    ///
    /// # Errors
    /// `EMFILE`, and after [`watch`](End::watch) also `ENOMEM` and `ENOSPC`; dropping the end is
    /// an abortion then.
    pub fn watching(mut self, child: &Child) -> Result<Self, SystemError> {
        self.pidfd = child.duplicate_pidfd()?;
        // One that stands already does not watch it.
        self.sleeper = Sleeper::new();
        if let (Some(watch), Some(pidfd)) = (&self.watch, &self.pidfd) {
            add(watch, pidfd.as_fd(), epoll::EventFlags::IN)?;
        }
        Ok(self)
    }
}

impl<R: Role, L: Lane> End<R, L> {
    pub(crate) const fn new(rules: Rules, half: Half, pidfd: Option<OwnedFd>) -> Self {
        Self {
            rules,
            half,
            pidfd,
            sleeper: Sleeper::new(),
            patience: Patience::SLEEP,
            watch: None,
            kind: PhantomData,
        }
    }

    /// Spins in its waits before it sleeps; an end sleeps at once otherwise. See [`Patience`] for
    /// when that helps.
    pub fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Places a token. Never blocks, and allocates nothing.
    ///
    /// Answers false where it was not placed: an abortion is already known here, or as many are
    /// unread as fit, which [`has_ended`](Self::has_ended) tells apart. On the lane
    /// [`Page`] that is 1,073,741,823, on [`Eventfd`](crate::Eventfd) more than can be placed one
    /// by one. A death that was not yet noticed does not count.
    pub fn place(&mut self) -> bool {
        if !self.rules.is_open() || !self.post(Post::Token) {
            return false;
        }
        self.rules.placed();
        true
    }

    /// Aborts: the peer's waits end, also those for tokens that it has not read yet. Posted once,
    /// and never waits. Answers whether the peer is not known to have ended its part.
    pub fn abort(&mut self) -> bool {
        if self.rules.abort() {
            self.post(Post::Abortion);
        }
        self.rules.peer().is_none()
    }

    /// Aborts with a reason, which the peer is given also when this process has ended by then. Of
    /// the text the first 48 bytes are kept. After an abortion it does nothing.
    ///
    /// ```
    /// use ipc_barrier::{Barrier, Stage};
    ///
    /// let mut end = Barrier::new()?.into_parent();
    /// end.fail(Stage(3), rustix::io::Errno::PERM, "pivot_root");
    /// assert!(end.has_aborted() && !end.place());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&mut self, stage: Stage, error: impl Into<Errno>, text: &str) {
        if !self.rules.has_aborted() {
            let text = ipc_frame::Text::new(text);
            let place = self.half.memory.reason(self.half.side);
            reason::write(place, &Reason { stage, errno: error.into(), text });
        }
        self.abort();
    }

    /// Returns whether this side has aborted, or its descriptors turned out not to work.
    pub const fn has_aborted(&self) -> bool {
        self.rules.has_aborted()
    }

    /// Returns whether nothing can be placed or met any more: this side has aborted, or the
    /// peer is known to have aborted or to be gone.
    pub const fn has_ended(&self) -> bool {
        !self.rules.is_open()
    }

    /// Returns the descriptors that a child must keep open for this end: three, and a fourth where
    /// the barrier was opened for exec. Later there are also those of [`watching`](End::watching)
    /// and [`watch`](Self::watch), and the two of a set that an end opens once it has slept some
    /// times with a deadline or a pidfd.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let own = self.pidfd().into_iter().chain(self.watch.as_ref().map(AsFd::as_fd));
        self.shared().chain(own).chain(self.sleeper.descriptors())
    }

    /// The descriptors that were there before the fork.
    pub(crate) fn shared(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let half = &self.half;
        let lane = [half.outgoing.as_fd(), half.incoming.as_fd(), half.own.as_fd()];
        lane.into_iter().chain(half.memory.file())
    }

    /// Returns one descriptor for an event loop; made at the first call and the same from then
    /// on (epoll(7)). Once the peer is gone it stays readable.
    ///
    /// It is readable when a `try_` call may have news that came since the end was made or since
    /// the last [`arm`](Self::arm).
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`; the end is as it was.
    pub fn watch(&mut self) -> Result<BorrowedFd<'_>, SystemError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => self.open_watch()?,
        };
        let watch: &OwnedFd = self.watch.insert(watch);
        Ok(watch.as_fd())
    }

    /// Makes the descriptor of [`watch`](Self::watch) show what comes next. Call it after a
    /// `try_` call that was not met, before waiting for the descriptor.
    ///
    /// Answers false where news has come already, so that the `try_` call is to be made again.
    /// On the lane [`Eventfd`](crate::Eventfd) it has nothing to do.
    pub fn arm(&mut self) -> bool {
        let armed = L::hush(&self.half).and_then(|()| L::arm(&self.half));
        armed.unwrap_or_else(|Broken| {
            self.rules.broken();
            false
        })
    }

    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    fn open_watch(&self) -> Result<OwnedFd, SystemError> {
        let watch =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let watch = above_stdio(watch)?;
        add(&watch, L::bell(&self.half), epoll::EventFlags::IN)?;
        if let Some(end) = L::end(&self.half) {
            add(&watch, end, epoll::EventFlags::empty())?;
        }
        if let Some(pidfd) = &self.pidfd {
            add(&watch, pidfd.as_fd(), epoll::EventFlags::IN)?;
        }
        Ok(watch)
    }

    fn post(&mut self, post: Post) -> bool {
        L::post(&self.half, post).unwrap_or_else(|Broken| {
            self.rules.broken();
            false
        })
    }

    fn wait_for(&mut self, goal: Goal, deadline: Option<Instant>) -> Result<(), Unmet> {
        let mut looks: usize = 0;
        loop {
            match self.rules.progress(goal) {
                Progress::Met => return Ok(()),
                Progress::Never => return Err(self.unmet()),
                Progress::NotYet => {}
            }
            if looks >= LOOKS && lane::is_past(deadline) {
                return Err(Unmet::TimedOut);
            }
            looks = looks.saturating_add(1);
            match self.look(deadline) {
                Ok(Seen::Nothing) => return Err(Unmet::TimedOut),
                Ok(Seen::Taken(value)) => self.rules.drained(value),
                Ok(Seen::End) => self.rules.gone(),
                Err(Broken) => self.rules.broken(),
            }
        }
    }

    fn look(&mut self, deadline: Option<Instant>) -> Result<Seen, Broken> {
        let Self { half, sleeper, pidfd, patience, .. } = self;
        lane::look::<L>(half, sleeper, pidfd.as_ref().map(AsFd::as_fd), *patience, deadline)
    }

    fn unmet(&self) -> Unmet {
        match self.rules.peer() {
            Some(Cause::Gone) if !self.rules.has_aborted() => Unmet::Gone,
            Some(_) => Unmet::Aborted(self.peers_reason()),
            None => Unmet::Aborted(None),
        }
    }

    fn peers_reason(&self) -> Option<Reason> {
        reason::read(self.half.memory.reason(self.half.side.other()))
    }
}

fn add(watch: &OwnedFd, fd: BorrowedFd<'_>, flags: epoll::EventFlags) -> Result<(), SystemError> {
    let none = epoll::EventData::new_u64(0);
    epoll::add(watch, fd, none, flags).map_err(SystemError::of("epoll_ctl"))
}

/// Turns running out of time into `Ok(false)`, for the `try_` forms.
fn met(outcome: Result<(), Unmet>) -> Result<bool, Unmet> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Unmet::TimedOut) => Ok(false),
        Err(unmet) => Err(unmet),
    }
}

/// The waits. None is met once this side or the peer has aborted, or the peer is gone and all
/// its tokens are drained.
impl<R: Role, L: Lane> End<R, L> {
    /// Waits until every token of this side has been answered by one of the peer's; met at once
    /// where none is unanswered.
    ///
    /// # Errors
    /// [`Unmet::Aborted`], also after an abortion of this side itself, and [`Unmet::Gone`].
    pub fn sync(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync(), None)
    }

    /// Waits as [`sync`](Self::sync), to a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn sync_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync(), Some(deadline))
    }

    /// Looks whether [`sync`](Self::sync) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.sync(), AT_ONCE))
    }

    /// Waits until one more token of this side has been answered; met at once, without a system
    /// call, where none is unanswered.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn sync_next(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync_next(), None)
    }

    /// Waits as [`sync_next`](Self::sync_next), to a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn sync_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync_next(), Some(deadline))
    }

    /// Looks whether [`sync_next`](Self::sync_next) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_sync_next(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.sync_next(), AT_ONCE))
    }

    /// Waits until at least one token of the peer is newly drained, whatever this side placed.
    /// One drain takes all that are pending, so that two tokens may satisfy only one such wait.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn wait_next(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.wait_next(), None)
    }

    /// Waits as [`wait_next`](Self::wait_next), to a deadline.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and [`Unmet::TimedOut`].
    pub fn wait_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.wait_next(), Some(deadline))
    }

    /// Looks whether [`wait_next`](Self::wait_next) is met; false for not yet.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn try_wait_next(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.wait_next(), AT_ONCE))
    }

    /// Places a token and waits as [`sync`](Self::sync).
    ///
    /// # Errors
    /// As [`sync`](Self::sync). Where the token does not fit it does not wait either:
    /// [`Unmet::TimedOut`] at once, and nothing is placed.
    pub fn place_and_sync(&mut self) -> Result<(), Unmet> {
        self.placed()?;
        self.sync()
    }

    /// Places a token and waits as [`sync_until`](Self::sync_until).
    ///
    /// # Errors
    /// As [`place_and_sync`](Self::place_and_sync), and [`Unmet::TimedOut`] at the deadline: the
    /// token is placed then, so that [`sync_until`](Self::sync_until) goes on waiting.
    pub fn place_and_sync_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.placed()?;
        self.sync_until(deadline)
    }

    pub(crate) fn placed(&mut self) -> Result<(), Unmet> {
        match self.place() {
            true => Ok(()),
            false if self.has_ended() => Err(self.unmet()),
            false => Err(Unmet::TimedOut),
        }
    }

    /// Waits until the peer has aborted, exited or closed, and tells how; tokens on the way are
    /// swallowed. Allowed after an abortion of this side. Never [`Unmet::TimedOut`]. An abortion of
    /// this side itself shows in [`has_aborted`](Self::has_aborted).
    pub fn wait_abortion(&mut self) -> Unmet {
        self.abortion(None)
    }

    /// Waits as [`wait_abortion`](Self::wait_abortion), to a deadline: [`Unmet::TimedOut`] where it
    /// has come first.
    pub fn wait_abortion_until(&mut self, deadline: Instant) -> Unmet {
        self.abortion(Some(deadline))
    }

    /// Looks whether the peer has ended its part; `None` while it has not.
    pub fn try_wait_abortion(&mut self) -> Option<Unmet> {
        Some(self.abortion(AT_ONCE)).filter(|unmet| *unmet != Unmet::TimedOut)
    }

    fn abortion(&mut self, deadline: Option<Instant>) -> Unmet {
        match self.wait_for(Goal::Abortion, deadline) {
            Err(unmet) => unmet,
            Ok(()) if self.rules.peer() == Some(Cause::Gone) => Unmet::Gone,
            Ok(()) => Unmet::Aborted(self.peers_reason()),
        }
    }
}
