//! When to replace a worker that ended. The time is an argument.

use core::time::Duration;

use ipc_transport::Instant;

/// When a worker that ended is replaced.
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
    /// The first restart is immediate. The second waits this long, and each further one twice as
    /// long as the one before.
    pub delay: Duration,
    /// The longest delay.
    pub delay_cap: Duration,
    /// A worker that stays up this long is healthy: the delay starts over.
    pub healthy_after: Duration,
    /// If more workers than this end within `window`, no further one starts. Limits over 16 are
    /// accurate to one sixteenth.
    pub limit: u32,
    /// The period in which ends are counted.
    pub window: Duration,
}

impl Restart {
    /// Delays from 0.1 s to 10 s, healthy after 1 s, at most 10 ends per minute. A worker that
    /// cannot stay up is given up after about half a minute.
    pub const STANDARD: Self = Self {
        delay: Duration::from_millis(100),
        delay_cap: Duration::from_secs(10),
        healthy_after: Duration::from_secs(1),
        limit: 10,
        window: Duration::from_secs(60),
    };

    /// Restarts at once, without a limit. A worker that cannot start keeps main busy.
    pub const AT_ONCE: Self = Self { delay_cap: Duration::ZERO, limit: u32::MAX, ..Self::STANDARD };

    /// Never restarts.
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

/// How many ends are remembered besides the current one. Larger limits are accurate to one
/// sixteenth.
const REMEMBERED: u32 = 16;

/// Counts ends and decides what follows.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) policy: Restart,
    /// How long the next restart waits.
    delay: Duration,
    /// Ends since the last one that was remembered.
    ends: u32,
    /// The remembered ends, latest first.
    remembered: [Instant; REMEMBERED as usize + 1],
    /// When the current worker became ready, if it did.
    pub(crate) started: Instant,
}

impl Supervisor {
    pub(crate) const fn new(policy: Restart) -> Self {
        let (remembered, started) = ([Instant::NEVER; REMEMBERED as usize + 1], Instant::NEVER);
        Self { policy, delay: Duration::ZERO, ends: 0, remembered, started }
    }

    /// Records that a worker ended or did not start. Returns when the next one starts, or `None` if
    /// too many ended within the window.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<Instant> {
        let started = core::mem::replace(&mut self.started, Instant::NEVER);
        if started + self.policy.healthy_after <= now {
            self.delay = Duration::ZERO;
        }
        let Restart { limit, window, .. } = self.policy;
        // Up to a small limit every end is remembered; for a larger one, every nth.
        let step = limit.saturating_sub(1) / REMEMBERED + 1;
        self.ends += 1;
        if self.ends >= step {
            self.ends = 0;
            self.remembered.rotate_right(1);
            self.remembered[0] = now;
            let first = self.remembered.get(limit.div_ceil(step) as usize);
            if first.is_some_and(|&first| first != Instant::NEVER && first + window >= now) {
                return None;
            }
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
            assert!(now.since(T0) < Restart::STANDARD.window, "it never gives up");
        }
    }

    #[test]
    fn too_many_ends_in_a_window_are_the_end() {
        let mut supervisor = Supervisor::new(Restart { limit: 2, ..Restart::STANDARD });
        supervisor.ended(T0);
        supervisor.ended(T0 + ms(59_000));
        assert_eq!(supervisor.ended(T0 + ms(59_500)), None);
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

    /// A window that starts over would allow nearly twice as many around its end.
    #[test]
    fn repro_no_window_has_more_ends_than_the_limit() {
        for limit in [1, 2, 10, 16, 17, 100, 1_000] {
            let restart = Restart { limit, ..Restart::STANDARD };
            let mut supervisor = Supervisor::new(restart);
            let slack = 2 * (limit.saturating_sub(1) / 16);
            // One early, all others just before and after a window has passed.
            assert!(supervisor.ended(T0).is_some());
            let mut allowed = 0;
            for count in 0..3 * u64::from(limit) {
                let now = T0 + ms(59_000) + Duration::from_micros(count);
                if supervisor.ended(now).is_none() {
                    break;
                }
                allowed += 1;
            }
            assert!((limit - 1..=limit + slack).contains(&allowed), "{allowed} of {limit}");
            // Ends of long ago do not count.
            let mut supervisor = Supervisor::new(restart);
            let apart = restart.window / limit + ms(1);
            for count in 0..3 * limit {
                assert!(supervisor.ended(T0 + apart * count).is_some(), "{count} of {limit}");
            }
        }
    }

    #[test]
    fn delay_and_limit_replace_those_of_the_policy() {
        let changed = Restart::STANDARD.delay(ms(7)).limit(3);
        assert_eq!(changed, Restart { delay: ms(7), limit: 3, ..Restart::STANDARD });
    }
}
