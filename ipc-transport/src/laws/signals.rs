//! Signals that go to the calling thread only, so that laws can run in parallel with other tests.

#![expect(unsafe_code, reason = "signal masks, handlers and timers need libc")]

use std::mem::{MaybeUninit, zeroed};
use std::ptr::null_mut;

/// Blocks SIGPIPE in the calling thread, and knows whether one was raised. A blocked signal stays
/// pending even if it is ignored (sigpending(2)).
pub(super) struct NoPipeSignal {
    before: libc::sigset_t,
}

impl NoPipeSignal {
    pub(super) fn watch() -> Self {
        let mut before = MaybeUninit::uninit();
        let pipe = only_pipe();
        // SAFETY: the call reads one set and fills in the other.
        let blocked =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const pipe, before.as_mut_ptr()) };
        assert_eq!(blocked, 0, "pthread_sigmask");
        // SAFETY: the call above has filled it in.
        let watch = Self { before: unsafe { before.assume_init() } };
        watch.take();
        watch
    }

    pub(super) fn none_came(&self) {
        assert!(!self.take(), "SIGPIPE was raised: send with MSG_NOSIGNAL");
    }

    /// Removes a pending SIGPIPE, and returns whether there was one.
    fn take(&self) -> bool {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let pipe = only_pipe();
        // SAFETY: the call reads the set and the time.
        unsafe {
            libc::sigtimedwait(&raw const pipe, null_mut(), &raw const at_once) == libc::SIGPIPE
        }
    }
}

impl Drop for NoPipeSignal {
    fn drop(&mut self) {
        self.take();
        // SAFETY: the call reads the set.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, null_mut()) };
    }
}

fn only_pipe() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call fills in the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was filled in.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

/// Sends SIGURG to the calling thread repeatedly, to a handler without `SA_RESTART`, until dropped.
/// The handler stays installed; by default the signal is ignored.
pub(super) struct Storm {
    timer: libc::timer_t,
}

extern "C" fn ignore(_signal: libc::c_int) {}

impl Storm {
    /// Starts a storm with a signal every 60 µs.
    pub(super) fn begin() -> Self {
        // SAFETY: all zeros is a valid sigaction: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
        // SAFETY: the handler does nothing.
        let set = unsafe { libc::sigaction(libc::SIGURG, &raw const action, null_mut()) };
        assert_eq!(set, 0, "sigaction");
        // SAFETY: all zeros is a valid sigevent.
        let mut event: libc::sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGURG;
        // SAFETY: no memory is involved.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = MaybeUninit::uninit();
        // SAFETY: the call reads the event and fills in the timer.
        let made = unsafe {
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr())
        };
        assert_eq!(made, 0, "timer_create");
        // SAFETY: all zeros is a valid itimerspec.
        let mut times: libc::itimerspec = unsafe { zeroed() };
        times.it_interval.tv_nsec = 60_000;
        times.it_value = times.it_interval;
        // SAFETY: the timer was filled in.
        let timer = unsafe { timer.assume_init() };
        // SAFETY: the timer was made above; the call reads the times.
        let set = unsafe { libc::timer_settime(timer, 0, &raw const times, null_mut()) };
        assert_eq!(set, 0, "timer_settime");
        Self { timer }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        // SAFETY: the timer was made by `begin`.
        unsafe { libc::timer_delete(self.timer) };
    }
}
