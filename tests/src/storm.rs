//! A storm of signals, which interrupt every blocking call.

#![expect(unsafe_code, reason = "signal handlers and timers have no safe wrapper")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_signal: libc::c_int) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Repeated `SIGALRM` into a handler without `SA_RESTART`, until dropped. Children forked meanwhile
/// do not inherit the timer.
#[must_use = "dropping the storm ends it"]
#[derive(Debug)]
pub struct Storm(());

impl Storm {
    /// Starts a storm of one signal per period; the period is less than a second.
    pub fn begin(period: Duration) -> Self {
        // SAFETY: all zeroes is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler only increments an atomic, which is async-signal-safe.
        let result =
            unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0, "sigaction");
        set_timer(period);
        Self(())
    }

    /// Returns how many signals this process has handled.
    pub fn signals() -> usize {
        COUNT.load(Ordering::Relaxed)
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        set_timer(Duration::ZERO);
    }
}

fn set_timer(period: Duration) {
    let micros = i32::try_from(period.subsec_micros()).expect("below a million");
    let period = libc::timeval { tv_sec: 0, tv_usec: micros.into() };
    let timer = libc::itimerval { it_interval: period, it_value: period };
    // SAFETY: the kernel only reads the timer.
    let result =
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(result, 0, "setitimer");
}
