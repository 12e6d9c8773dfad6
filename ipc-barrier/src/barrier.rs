//! The barrier itself: two event counters and a pipe, and the two ends as two types.

use core::fmt;
use core::marker::PhantomData;

use ipc_transport::{Errno, Instant, Interest, SystemError, Watched, above_stdio, wait};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno as RawErrno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::child::Child;
use crate::reason::{Place, Reason, Reasons, Stage};
use crate::rules::{ABORTION, Cause, Goal, Progress, Rules};

/// A deadline that has always passed: look, do not wait.
const AT_ONCE: Option<Instant> = Some(Instant::from_nanoseconds(0));

/// Looks that tell all there is at one moment: tokens first, and the end behind them. Once a
/// deadline has passed there are no more, since a peer that places without end has always news.
const LOOKS: usize = 2;

/// A barrier before the fork. Each process turns its copy into its own end.
///
/// A barrier that was not split cannot place:
///
/// ```compile_fail
/// let barrier = ipc_barrier::Barrier::new()?;
/// barrier.place();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```
/// let barrier = ipc_barrier::Barrier::new()?;
/// barrier.into_parent().place();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Barrier {
    /// What the parent posts to and the child reads, and the other way round (eventfd(2)).
    to_child: OwnedFd,
    to_parent: OwnedFd,
    /// Carries nothing; that an end is closed shows to the other (pipe(7)).
    parent_pipe: OwnedFd,
    child_pipe: OwnedFd,
    reasons: Reasons,
}

impl Barrier {
    /// Opens a barrier: four descriptors, close-on-exec and above 2, and one shared page.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` and `ENOMEM`; whatever was opened until then is closed.
    pub fn new() -> Result<Self, SystemError> {
        let counter = || {
            let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
            above_stdio(eventfd(0, flags).map_err(SystemError::of("eventfd"))?)
        };
        let (to_child, to_parent) = (counter()?, counter()?);
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
        let (parent_pipe, child_pipe) = (above_stdio(reader)?, above_stdio(writer)?);
        Ok(Self { to_child, to_parent, parent_pipe, child_pipe, reasons: Reasons::new()? })
    }

    /// Becomes the parent's end and closes what belongs to the child.
    pub fn into_parent(self) -> ParentEnd {
        End::new(
            Place::Parent,
            Place::Child,
            Lane { mine: self.to_child, theirs: self.to_parent, pipe: self.parent_pipe },
            self.reasons,
        )
    }

    /// Becomes the child's end and closes what belongs to the parent.
    pub fn into_child(self) -> ChildEnd {
        End::new(
            Place::Child,
            Place::Parent,
            Lane { mine: self.to_parent, theirs: self.to_child, pipe: self.child_pipe },
            self.reasons,
        )
    }
}

/// Marks the parent's [`End`].
#[derive(Debug)]
pub enum ParentSide {}

/// Marks the child's [`End`].
#[derive(Debug)]
pub enum ChildSide {}

/// The parent's end.
pub type ParentEnd = End<ParentSide>;

/// The child's end.
pub type ChildEnd = End<ChildSide>;

/// The descriptors of one side.
#[derive(Debug)]
struct Lane {
    mine: OwnedFd,
    theirs: OwnedFd,
    pipe: OwnedFd,
}

/// One side of a barrier. Dropping it, exiting or calling exec is an abortion that queues behind
/// the tokens placed before.
///
/// Nothing of the peer is noticed until a call looks for it. Waiting calls come in three forms:
/// plain ones wait for ever, `_until` ones to a deadline, and `try_` ones not at all. To run out
/// of time breaks nothing. No call sees signals.
#[derive(Debug)]
pub struct End<Side> {
    rules: Rules,
    lane: Lane,
    reasons: Reasons,
    my_place: Place,
    peers_place: Place,
    pidfd: Option<OwnedFd>,
    watch: Option<OwnedFd>,
    side: PhantomData<Side>,
}

impl ParentEnd {
    /// Also watches the process itself, by a descriptor of its own: for a child whose ends are
    /// also held by another process, so that its death does not close them. Where the kernel
    /// has no pidfd, nothing is added.
    ///
    /// # Errors
    /// `EMFILE`, and after [`watch`](End::watch) also `ENOMEM` and `ENOSPC`; dropping the end is
    /// an abortion then.
    pub fn watching(mut self, child: &Child) -> Result<Self, SystemError> {
        self.pidfd = child.duplicate_pidfd()?;
        if let (Some(watch), Some(pidfd)) = (&self.watch, &self.pidfd) {
            add(watch, pidfd.as_fd(), epoll::EventFlags::IN)?;
        }
        Ok(self)
    }
}

impl<Side> End<Side> {
    const fn new(my_place: Place, peers_place: Place, lane: Lane, reasons: Reasons) -> Self {
        Self {
            rules: Rules::new(),
            lane,
            reasons,
            my_place,
            peers_place,
            pidfd: None,
            watch: None,
            side: PhantomData,
        }
    }

    /// Places a token. Answers false only where an abortion is already known here; a death that
    /// was not yet noticed does not count. Never blocks.
    pub fn place(&mut self) -> bool {
        self.rules.place() && self.post(1)
    }

    /// Aborts: the peer's waits end, also those for tokens that it has not read yet. Posted once.
    /// Answers whether the peer is not known to have ended its part.
    pub fn abort(&mut self) -> bool {
        if self.rules.abort() {
            self.post(ABORTION);
        }
        self.rules.peer().is_none()
    }

    /// Aborts with a reason, which the peer is given. After an abortion it does nothing.
    pub fn fail(&mut self, stage: Stage, error: impl Into<Errno>, text: &str) {
        if !self.rules.has_aborted() {
            let text = ipc_frame::Text::new(text);
            self.reasons.write(self.my_place, &Reason { stage, errno: error.into(), text });
        }
        self.abort();
    }

    /// Returns whether this side has aborted, or its descriptors turned out not to work.
    pub const fn has_aborted(&self) -> bool {
        self.rules.has_aborted()
    }

    /// Returns the descriptors that a child must keep open for this end.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.lane.mine.as_fd(), self.lane.theirs.as_fd(), self.lane.pipe.as_fd()]
    }

    /// Returns one descriptor that is readable when a `try_` call may have news; made at the
    /// first call and the same from then on (epoll(7)). Once the peer is gone it stays readable.
    ///
    /// # Errors
    /// `EMFILE`, `ENOMEM`, `ENOSPC`.
    pub fn watch(&mut self) -> Result<BorrowedFd<'_>, SystemError> {
        let watch = match self.watch.take() {
            Some(watch) => watch,
            None => self.open_watch()?,
        };
        let watch: &OwnedFd = self.watch.insert(watch);
        Ok(watch.as_fd())
    }

    fn open_watch(&self) -> Result<OwnedFd, SystemError> {
        let watch =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let watch = above_stdio(watch)?;
        add(&watch, self.lane.theirs.as_fd(), epoll::EventFlags::IN)?;
        add(&watch, self.lane.pipe.as_fd(), epoll::EventFlags::empty())?;
        if let Some(pidfd) = &self.pidfd {
            add(&watch, pidfd.as_fd(), epoll::EventFlags::IN)?;
        }
        Ok(watch)
    }

    /// Adds to the peer's counter. Answers false where that is broken.
    fn post(&mut self, value: u64) -> bool {
        loop {
            match rustix::io::write(&self.lane.mine, &value.to_ne_bytes()) {
                Ok(_) => return true,
                Err(RawErrno::INTR) => {}
                Err(_) => {
                    self.rules.broken();
                    return false;
                }
            }
        }
    }

    /// Takes all that the peer has posted. Answers whether there was anything.
    fn drain(&mut self) -> bool {
        let mut value = [0; 8];
        loop {
            match rustix::io::read(&self.lane.theirs, &mut value) {
                // A counter that is zero cannot be read: what gives that is none.
                Ok(8) if value != [0; 8] => {
                    self.rules.drained(u64::from_ne_bytes(value));
                    return true;
                }
                Err(RawErrno::INTR) => {}
                Err(RawErrno::AGAIN) => return false,
                Ok(_) | Err(_) => {
                    self.rules.broken();
                    return true;
                }
            }
        }
    }

    fn wait_for(&mut self, goal: Goal, deadline: Option<Instant>) -> Result<(), Unmet> {
        let mut looks: usize = 0;
        loop {
            match self.rules.progress(goal) {
                Progress::Met => return Ok(()),
                Progress::Never => return Err(self.unmet()),
                Progress::NotYet => {}
            }
            if looks >= LOOKS && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Unmet::TimedOut);
            }
            looks = looks.saturating_add(1);
            match self.look(deadline) {
                Ok(Seen::Nothing) => return Err(Unmet::TimedOut),
                Ok(Seen::News) => _ = self.drain(),
                // A last look at the counter: tokens placed before a death count.
                Ok(Seen::End) => {
                    if !self.has_tokens() || !self.drain() {
                        self.rules.gone();
                    }
                }
                Ok(Seen::Broken) | Err(_) => self.rules.broken(),
            }
        }
    }

    /// Whether a read would not wait: the peer shares the counter's mode and may have changed it.
    fn has_tokens(&self) -> bool {
        let mut watched = [Watched::new(self.lane.theirs.as_fd(), Interest::Input)];
        wait(&mut watched, AT_ONCE).unwrap_or(false)
    }

    /// Waits until the peer has posted or is gone.
    fn look(&self, deadline: Option<Instant>) -> Result<Seen, SystemError> {
        let pidfd = self.pidfd.as_ref().unwrap_or(&self.lane.pipe);
        let pid_interest = if self.pidfd.is_some() { Interest::Input } else { Interest::End };
        let mut watched = [
            Watched::new(self.lane.theirs.as_fd(), Interest::Input),
            Watched::new(self.lane.pipe.as_fd(), Interest::End),
            Watched::new(pidfd.as_fd(), pid_interest),
        ];
        if !wait(&mut watched, deadline)? {
            return Ok(Seen::Nothing);
        }
        let [theirs, pipe, pidfd] = &watched;
        Ok(if theirs.is_broken() || pipe.is_broken() || pidfd.is_broken() {
            Seen::Broken
        } else if pipe.is_over() || pidfd.is_ready() {
            Seen::End
        } else {
            Seen::News
        })
    }

    fn unmet(&self) -> Unmet {
        match self.rules.peer() {
            Some(Cause::Gone) if !self.rules.has_aborted() => Unmet::Gone,
            Some(_) => Unmet::Aborted(self.reasons.read(self.peers_place)),
            None => Unmet::Aborted(None),
        }
    }
}

fn add(watch: &OwnedFd, fd: BorrowedFd<'_>, flags: epoll::EventFlags) -> Result<(), SystemError> {
    let none = epoll::EventData::new_u64(0);
    epoll::add(watch, fd, none, flags).map_err(SystemError::of("epoll_ctl"))
}

/// What a look at the peer has shown.
enum Seen {
    Nothing,
    News,
    End,
    Broken,
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
///
/// # Errors
/// [`Unmet::Aborted`] also after an abortion of this side itself; [`Unmet::TimedOut`] from the
/// `_until` forms only. The `try_` forms answer `Ok(false)` for not yet.
impl<Side> End<Side> {
    /// Waits until every token of this side has been answered by one of the peer's.
    pub fn sync(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync(), None)
    }

    /// Waits as [`sync`](Self::sync), to a deadline.
    pub fn sync_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync(), Some(deadline))
    }

    /// Looks whether [`sync`](Self::sync) is met.
    pub fn try_sync(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.sync(), AT_ONCE))
    }

    /// Waits until one more token of this side has been answered; met at once where none is
    /// unanswered.
    pub fn sync_next(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync_next(), None)
    }

    /// Waits as [`sync_next`](Self::sync_next), to a deadline.
    pub fn sync_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.sync_next(), Some(deadline))
    }

    /// Looks whether [`sync_next`](Self::sync_next) is met.
    pub fn try_sync_next(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.sync_next(), AT_ONCE))
    }

    /// Waits until at least one token of the peer is newly drained, whatever this side placed.
    /// One drain takes all that are pending, so that two tokens may satisfy only one such wait.
    pub fn wait_next(&mut self) -> Result<(), Unmet> {
        self.wait_for(self.rules.wait_next(), None)
    }

    /// Waits as [`wait_next`](Self::wait_next), to a deadline.
    pub fn wait_next_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.wait_for(self.rules.wait_next(), Some(deadline))
    }

    /// Looks whether [`wait_next`](Self::wait_next) is met.
    pub fn try_wait_next(&mut self) -> Result<bool, Unmet> {
        met(self.wait_for(self.rules.wait_next(), AT_ONCE))
    }

    /// Places a token and waits as [`sync`](Self::sync).
    pub fn place_and_sync(&mut self) -> Result<(), Unmet> {
        self.place();
        self.sync()
    }

    /// Places a token and waits as [`sync_until`](Self::sync_until).
    pub fn place_and_sync_until(&mut self, deadline: Instant) -> Result<(), Unmet> {
        self.place();
        self.sync_until(deadline)
    }

    /// Waits until the peer has aborted, exited or closed, and tells how; tokens on the way are
    /// swallowed. Allowed after an abortion of this side. Never [`Unmet::TimedOut`].
    pub fn wait_abortion(&mut self) -> Unmet {
        self.abortion(None)
    }

    /// Waits as [`wait_abortion`](Self::wait_abortion), to a deadline.
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
            Ok(()) => Unmet::Aborted(self.reasons.read(self.peers_place)),
        }
    }
}

/// Why a wait was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A side has aborted; with the peer's reason, if it gave one.
    Aborted(Option<Reason>),
    /// The peer has exited, was killed or has closed its end.
    Gone,
    /// The deadline has come. Nothing is broken: one may wait on.
    TimedOut,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted(Some(reason)) => write!(f, "the other side failed: {reason}"),
            Self::Aborted(None) => f.write_str("aborted"),
            Self::Gone => f.write_str("the other side is gone"),
            Self::TimedOut => f.write_str("the deadline has come"),
        }
    }
}

impl core::error::Error for Unmet {}
