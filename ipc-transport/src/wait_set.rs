//! Descriptors that stay watched from one wait to the next.

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::contract::SystemError;
use crate::descriptor::above_stdio;
use crate::waiting::{Instant, Interest, Watched};

/// Events that one call takes from the kernel; more are taken by the next.
const EVENTS: usize = 8;

/// What stands in an event of the timer.
const TIMER: u64 = u64::MAX;

/// Descriptors that stay watched from one wait to the next, and a timer that ends a wait
/// (epoll(7), timerfd_create(2); kernel 2.6.27). It is for those who wait for the same few again
/// and again.
///
/// A wait is one system call, whatever the deadline: the timer is set anew only where a deadline
/// comes before the last one that it was set to, or after it has run out. With
/// [`wait`](crate::wait()) each deadline costs a clock that is read and a timer that is started and
/// stopped.
///
/// The kernel watches what a number stood for when it was added, until all copies of that are
/// closed, in other processes too: to close the number here does not end it. Drop the set first.
/// After a fork only one process may use it, and any that has copies of its descriptors can stop
/// its timer and take what it shows.
#[derive(Debug)]
pub struct WaitSet {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer runs out; in the past, it has.
    set_to: Instant,
}

/// How long a descriptor that was added ends waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// As long as it has something to show.
    Level,
    /// Once for each change, also where what was shown before has not been taken
    /// (`EPOLLET`, epoll(7)).
    ///
    /// From kernel 5.5 to 5.13 a pipe shows only the first write after it was empty.
    Edge,
}

/// What has ended a wait of a [`WaitSet`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    shown: u32,
    over: u32,
}

impl Ready {
    /// Returns whether the deadline has come, and nothing was seen.
    pub const fn is_timed_out(self) -> bool {
        self.shown == 0
    }

    /// Returns whether anything was seen of the descriptor with this key.
    pub const fn is_ready(self, key: u8) -> bool {
        key < WaitSet::KEYS && self.shown & (1 << key) != 0
    }

    /// Returns whether the other side of the descriptor with this key is gone, as
    /// [`Watched::is_over`].
    pub const fn is_over(self, key: u8) -> bool {
        key < WaitSet::KEYS && self.over & (1 << key) != 0
    }

    fn add(&mut self, key: u64, seen: EventFlags) {
        let bit = u32::try_from(key).ok().and_then(|key| 1_u32.checked_shl(key)).unwrap_or(0);
        self.shown |= bit;
        if seen.intersects(EventFlags::HUP | EventFlags::ERR) {
            self.over |= bit;
        }
    }
}

impl WaitSet {
    /// Keys go up to this, exclusively.
    pub const KEYS: u8 = 32;

    /// Opens a set of nothing: two descriptors, close-on-exec and above 2.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`; where a filter refuses them, what it answers.
    pub fn open() -> Result<Self, SystemError> {
        let epoll =
            epoll::create(CreateFlags::CLOEXEC).map_err(SystemError::of("epoll_create1"))?;
        let epoll = above_stdio(epoll)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)
            .map_err(SystemError::of("timerfd_create"))?;
        let set = Self { epoll, timer: above_stdio(timer)?, set_to: Instant::NEVER };
        set.register(set.timer.as_fd(), EventFlags::IN, TIMER)?;
        Ok(set)
    }

    /// Adds a descriptor, whose events are given this key; more than one may have the same.
    ///
    /// # Errors
    /// `EINVAL` for a key that is not below [`KEYS`](Self::KEYS); `EBADF`, `EEXIST`, `ENOMEM`,
    /// `ENOSPC`, and `EPERM` for what cannot be waited for, such as a file. The set is as it was.
    pub fn add(&self, watched: &Watched<'_>, trigger: Trigger, key: u8) -> Result<(), SystemError> {
        if key >= Self::KEYS {
            return Err(SystemError::of("epoll_ctl")(Errno::INVAL));
        }
        let interest = match watched.interest() {
            Interest::End => EventFlags::empty(),
            Interest::Input => EventFlags::IN,
            Interest::Output => EventFlags::OUT,
            Interest::Both => EventFlags::IN | EventFlags::OUT,
        };
        let trigger = match trigger {
            Trigger::Level => EventFlags::empty(),
            Trigger::Edge => EventFlags::ET,
        };
        self.register(watched.fd(), interest | trigger, key.into())
    }

    /// Waits until one of the descriptors shows something or the deadline has come. No deadline
    /// waits for ever; one that has passed only looks. Signals do not end the wait.
    ///
    /// # Errors
    /// `EBADF` and `EINVAL` where the set's descriptors were closed under it.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Ready, SystemError> {
        let deadline = deadline.unwrap_or(Instant::NEVER);
        if deadline == Instant::PAST {
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            return self.events(Some(&at_once)).map(|(ready, _)| ready);
        }
        if deadline < self.set_to {
            self.set(deadline)?;
        }
        loop {
            let (ready, has_run_out) = self.events(None)?;
            if !ready.is_timed_out() {
                return Ok(ready);
            }
            // It was set for an earlier wait, and has to be silenced if nothing else.
            if has_run_out {
                if deadline <= Instant::now() {
                    return Ok(ready);
                }
                self.set(deadline)?;
            }
        }
    }

    /// The descriptors of the set itself, both of which a child that uses it must keep open.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.epoll.as_fd(), self.timer.as_fd()]
    }

    /// Sleeps once, for so long at most. Returns what was seen, and whether the timer has run out.
    #[inline]
    fn events(&self, timeout: Option<&Timespec>) -> Result<(Ready, bool), SystemError> {
        let none = Event { flags: EventFlags::empty(), data: EventData::new_u64(0) };
        let mut events = [none; EVENTS];
        let count = loop {
            match epoll::wait(&self.epoll, &mut events, timeout) {
                Ok(count) => break count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(SystemError::of("epoll_wait")(error)),
            }
        };
        let (mut ready, mut has_run_out) = (Ready::default(), false);
        for &Event { flags, data } in events.iter().take(count) {
            match data.u64() {
                TIMER => has_run_out = true,
                key => ready.add(key, flags),
            }
        }
        Ok((ready, has_run_out))
    }

    fn set(&mut self, deadline: Instant) -> Result<(), SystemError> {
        let value = match deadline {
            // Zero stops the timer, and is no deadline that gets here.
            Instant::NEVER => 0,
            deadline => deadline.as_nanoseconds(),
        };
        let timer = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: (value / 1_000_000_000).try_into().unwrap_or(i64::MAX),
                tv_nsec: (value % 1_000_000_000).try_into().unwrap_or(0),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &timer)
            .map_err(SystemError::of("timerfd_settime"))?;
        self.set_to = deadline;
        Ok(())
    }

    fn register(
        &self,
        fd: BorrowedFd<'_>,
        events: EventFlags,
        key: u64,
    ) -> Result<(), SystemError> {
        epoll::add(&self.epoll, fd, EventData::new_u64(key), events)
            .map_err(SystemError::of("epoll_ctl"))
    }
}
