//! How often a thread sleeps, which shows whether its calls block, however fast the machine is.

#![expect(unsafe_code, reason = "getrusage needs libc")]

use std::mem::MaybeUninit;

/// Makes calls, and returns how often this thread slept meanwhile. It does not count when the
/// scheduler runs another thread instead.
pub(super) fn sleeps_during(calls: impl FnOnce()) -> usize {
    let before = sleeps();
    calls();
    sleeps() - before
}

/// The voluntary context switches of this thread (getrusage(2)).
fn sleeps() -> usize {
    let mut usage = MaybeUninit::uninit();
    // SAFETY: the call fills in the figures.
    let result = unsafe { libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) };
    assert_eq!(result, 0, "getrusage");
    // SAFETY: the call above has filled them in.
    let usage: libc::rusage = unsafe { usage.assume_init() };
    usize::try_from(usage.ru_nvcsw).unwrap()
}
