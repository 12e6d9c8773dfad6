//! Lanes: how one side's tokens and abortions reach the other. What they mean is for the rules.

mod eventfd;
mod nowait;
mod page;
mod sleeper;

use heapless::Vec;
use ipc_transport::{Instant, Interest, Patience, SystemError, Watched};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

pub use eventfd::Eventfd;
pub use page::Page;
use sleeper::Shown;
pub(crate) use sleeper::Sleeper;

use crate::memory::{Memory, Side};

/// Stands for an abortion among what was taken. Tokens count up to it.
pub(crate) const ABORTION: u64 = 1 << 62;

/// A deadline that has always passed: look, do not wait.
pub(crate) const AT_ONCE: Option<Instant> = Some(Instant::PAST);

/// Whether a deadline has come; none never does.
pub(crate) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Descriptors of one end that are waited for, at most.
pub(crate) const SOURCES: usize = 3;

/// Looks at memory between two at the clock while spinning.
const LOOKS_PER_TICK: u32 = 16;

/// Hints to the processor between two looks. A look takes the line of the cache from a peer that is
/// about to place, which then has to fetch it again: without a rest between looks a round takes up
/// to twice as long.
const HINTS_PER_LOOK: u32 = 4;

/// How tokens reach the other side: [`Page`] or [`Eventfd`]. The rules are the same on both, and
/// both ends of a barrier are on the same one. Nobody else can implement it.
pub trait Lane: Mechanism {}

impl<L: Mechanism> Lane for L {}

/// The four descriptors of a lane: two that both sides keep, and one of each side's own, whose
/// closing shows to the other.
#[derive(Debug)]
pub struct Fds {
    pub(crate) to_child: OwnedFd,
    pub(crate) to_parent: OwnedFd,
    pub(crate) parent_own: OwnedFd,
    pub(crate) child_own: OwnedFd,
}

/// What one side has of a lane.
#[derive(Debug)]
pub struct Half {
    pub(crate) side: Side,
    pub(crate) outgoing: OwnedFd,
    pub(crate) incoming: OwnedFd,
    pub(crate) own: OwnedFd,
    pub(crate) memory: Memory,
}

/// What is posted to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Post {
    Token,
    Abortion,
}

/// The descriptors do not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// What a lane does. Of these only [`sleep`](Self::sleep) waits.
pub trait Mechanism {
    /// The lane's name in what is exported.
    const NAME: &'static str;

    /// Whether [`try_take`](Self::try_take) makes no system call.
    const LOOKS_FREELY: bool;

    /// Opens the descriptors, and writes into the memory what is to stand there at first.
    fn open(memory: &Memory) -> Result<Fds, SystemError>;

    /// Posts to the peer. Answers false where so many tokens are unread that one more does not
    /// fit.
    fn post(half: &Half, post: Post) -> Result<bool, Broken>;

    /// Takes all that the peer has posted, which may be nothing.
    fn try_take(half: &Half) -> Result<u64, Broken>;

    /// Takes all that the peer has posted, after [`bell`](Self::bell) was seen to be readable.
    fn take_shown(half: &Half) -> Result<u64, Broken> {
        Self::hush(half)?;
        Self::try_take(half)
    }

    /// Makes [`bell`](Self::bell) show the peer's next post. Answers false where it has posted
    /// already.
    fn arm(half: &Half) -> Result<bool, Broken>;

    /// Makes [`bell`](Self::bell) show nothing but what is posted from now on, where that is
    /// possible without taking.
    fn hush(half: &Half) -> Result<(), Broken>;

    /// Sleeps until the peer posts or closes, by reading the bell alone, where that is possible.
    fn sleep(half: &Half) -> Result<Option<Shown>, Broken>;

    /// The descriptor that is readable when the peer has posted.
    fn bell(half: &Half) -> BorrowedFd<'_> {
        half.incoming.as_fd()
    }

    /// The descriptor that shows the end, if that is another.
    fn end(half: &Half) -> Option<BorrowedFd<'_>>;
}

/// What a look at the peer has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The deadline has come.
    Nothing,
    /// So many tokens, also none; from [`ABORTION`] on, the peer's abortion.
    Taken(u64),
    /// The peer is gone, and nothing of it is left to take.
    End,
}

/// Looks at the peer, and sleeps at most once for it, until a deadline.
pub(crate) fn look<L: Mechanism>(
    half: &Half,
    sleeper: &mut Sleeper,
    pidfd: Option<BorrowedFd<'_>>,
    patience: Patience,
    deadline: Option<Instant>,
) -> Result<Seen, Broken> {
    if L::LOOKS_FREELY {
        let early = L::try_take(half)?;
        if early != 0 {
            return Ok(Seen::Taken(early));
        }
    }
    let shown = if deadline == AT_ONCE {
        sleeper::poll::<L>(half, pidfd, deadline)?
    } else {
        let spun = spin::<L>(half, patience, deadline)?;
        if spun != 0 || !L::arm(half)? {
            return Ok(Seen::Taken(spun));
        }
        let slept = match (deadline, pidfd) {
            (None, None) => L::sleep(half)?,
            _ => None,
        };
        match slept {
            Some(shown) => shown,
            None => sleeper.sleep::<L>(half, pidfd, deadline)?,
        }
    };
    match shown {
        Shown::Nothing => Ok(Seen::Nothing),
        Shown::Ringing => L::take_shown(half).map(Seen::Taken),
        Shown::Rung => L::try_take(half).map(Seen::Taken),
        Shown::End => last_look::<L>(half),
    }
}

/// Adds what shows the peer's posts and its end: the bell first.
pub(crate) fn watch<'fd, L: Mechanism, const N: usize>(
    half: &'fd Half,
    pidfd: Option<BorrowedFd<'fd>>,
    watched: &mut Vec<Watched<'fd>, N>,
) {
    // There is room for the sources of one end wherever this is called.
    _ = watched.push(Watched::new(L::bell(half), Interest::Input));
    if let Some(end) = L::end(half) {
        _ = watched.push(Watched::new(end, Interest::End));
    }
    if let Some(pidfd) = pidfd {
        _ = watched.push(Watched::new(pidfd, Interest::Input));
    }
}

/// Takes what was posted before an end that was seen: a death is believed only after this.
fn last_look<L: Mechanism>(half: &Half) -> Result<Seen, Broken> {
    L::try_take(half).map(|last| if last == 0 { Seen::End } else { Seen::Taken(last) })
}

/// Looks again and again until the patience or the time is over.
fn spin<L: Mechanism>(
    half: &Half,
    patience: Patience,
    deadline: Option<Instant>,
) -> Result<u64, Broken> {
    if patience.spin.is_zero() {
        return Ok(0);
    }
    let mut end = None;
    loop {
        for _ in 0..LOOKS_PER_TICK {
            let taken = L::try_take(half)?;
            if taken != 0 {
                return Ok(taken);
            }
            for _ in 0..HINTS_PER_LOOK {
                core::hint::spin_loop();
            }
        }
        let now = Instant::now();
        let end = *end.get_or_insert(
            deadline.map_or(now + patience.spin, |deadline| deadline.min(now + patience.spin)),
        );
        if now >= end {
            return Ok(0);
        }
    }
}

/// Whether the peer's posts can be read without waiting.
fn is_readable(fd: BorrowedFd<'_>) -> Result<bool, SystemError> {
    let mut watched = [Watched::new(fd, Interest::Input)];
    ipc_transport::wait(&mut watched, AT_ONCE)
}
