//! When a worker that ended is followed by another: one policy, with the time as an argument.

use core::time::Duration;

use ipc_transport::Instant;

/// How a worker that has ended is followed by another.
///
/// ```
/// use core::time::Duration;
/// use ipc_worker::Restart;
///
/// let mut patient = Restart::STANDARD.delay(Duration::from_secs(1)).limit(100);
/// patient.window = Duration::from_secs(3600);
/// # assert_eq!(patient.limit, 100);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restart {
    /// The first restart is immediate; the second waits this long, each further one twice as long.
    pub delay: Duration,
    /// The longest delay.
    pub delay_cap: Duration,
    /// A worker that stays up this long is healthy: its restart counts as a first one.
    pub healthy_after: Duration,
    /// If more workers than this end within `window`, the last one is not restarted.
    pub limit: u32,
    /// The time in which ends are counted.
    pub window: Duration,
}

impl Restart {
    /// Delays from 0.1 s to 10 s, healthy after 1 s, at most 10 ends in a minute: a worker that
    /// cannot stay up is given up after about half a minute.
    pub const STANDARD: Self = Self {
        delay: Duration::from_millis(100),
        delay_cap: Duration::from_secs(10),
        healthy_after: Duration::from_secs(1),
        limit: 10,
        window: Duration::from_secs(60),
    };

    /// Always at once and without a limit. A worker that cannot start keeps main busy.
    pub const AT_ONCE: Self = Self { delay_cap: Duration::ZERO, limit: u32::MAX, ..Self::STANDARD };

    /// Never: the first worker is the last.
    pub const NEVER: Self = Self { limit: 0, ..Self::STANDARD };

    /// Sets [`delay`](Self#structfield.delay).
    #[must_use]
    pub const fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sets [`limit`](Self#structfield.limit).
    #[must_use]
    pub const fn limit(self, limit: u32) -> Self {
        Self { limit, ..self }
    }
}

/// Counts ends and decides on what follows.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) policy: Restart,
    /// How long the next restart waits.
    delay: Duration,
    /// Ends in the window that began then.
    pub(crate) ends: u32,
    window_start: Instant,
    /// When the present worker was ready, if it is.
    pub(crate) started: Instant,
}

impl Supervisor {
    pub(crate) const fn new(policy: Restart) -> Self {
        let (window_start, started) = (Instant::PAST, Instant::NEVER);
        Self { policy, delay: Duration::ZERO, ends: 0, window_start, started }
    }

    /// Notes that a worker has ended, or did not even start. Returns when the next one starts,
    /// `None` where too many have ended within the window.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<Instant> {
        let started = core::mem::replace(&mut self.started, Instant::NEVER);
        if started + self.policy.healthy_after <= now {
            self.delay = Duration::ZERO;
        }
        if self.window_start + self.policy.window < now {
            self.window_start = now;
            self.ends = 0;
        }
        self.ends = self.ends.saturating_add(1);
        if self.ends > self.policy.limit {
            return None;
        }
        let delay = self.delay;
        let longer = if delay.is_zero() { self.policy.delay } else { delay.saturating_add(delay) };
        self.delay = longer.min(self.policy.delay_cap);
        Some(now + delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Instant = Instant::from_nanoseconds(1_000_000_000_000);

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn first_restart_is_at_once_then_delays_grow_to_the_cap() {
        let mut supervisor = Supervisor::new(Restart { limit: u32::MAX, ..Restart::STANDARD });
        let mut delays = std::vec::Vec::new();
        for _ in 0..40 {
            supervisor.started = T0;
            let at = supervisor.ended(T0).unwrap();
            delays.push(at.since(T0));
        }
        assert_eq!(delays[..5], [ms(0), ms(100), ms(200), ms(400), ms(800)]);
        assert_eq!(delays[39], ms(10_000));
    }

    #[test]
    fn a_worker_that_stayed_up_is_followed_at_once() {
        let mut supervisor = Supervisor::new(Restart::STANDARD);
        supervisor.ended(T0);
        supervisor.started = T0;
        assert_eq!(supervisor.ended(T0 + ms(999)), Some(T0 + ms(999) + ms(100)));
        supervisor.started = T0;
        assert_eq!(supervisor.ended(T0 + ms(1000)), Some(T0 + ms(1000)));
    }

    #[test]
    fn one_that_never_started_is_not_healthy_however_long_it_took() {
        let mut supervisor = Supervisor::new(Restart::STANDARD);
        supervisor.ended(T0);
        let later = T0 + ms(30_000);
        assert_eq!(supervisor.ended(later), Some(later + ms(100)));
    }

    #[test]
    fn a_worker_that_never_stays_up_is_given_up() {
        let mut supervisor = Supervisor::new(Restart::STANDARD);
        let mut now = T0;
        while let Some(at) = supervisor.ended(now) {
            now = at;
            assert!(now.since(T0) < Restart::STANDARD.window, "it goes on for ever");
        }
    }

    #[test]
    fn too_many_ends_in_a_window_are_the_end() {
        let mut supervisor = Supervisor::new(Restart { limit: 2, ..Restart::STANDARD });
        supervisor.ended(T0);
        supervisor.ended(T0 + ms(59_000));
        assert_eq!(supervisor.ended(T0 + ms(59_500)), None);
        assert_eq!(supervisor.ends, 3);
        let mut patient = Supervisor::new(Restart { limit: 2, ..Restart::STANDARD });
        for minute in 0..10 {
            let now = T0 + Duration::from_secs(61 * minute);
            assert!(patient.ended(now).is_some());
        }
        assert_eq!(Supervisor::new(Restart::NEVER).ended(T0), None);
    }

    #[test]
    fn at_once_knows_no_delay_and_no_limit() {
        let mut supervisor = Supervisor::new(Restart::AT_ONCE);
        assert!((0..100).all(|_| supervisor.ended(T0) == Some(T0)));
    }
}
