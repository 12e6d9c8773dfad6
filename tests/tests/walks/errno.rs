//! Each system call of main and of the worker fails, once or from then on, with each error on its
//! manual page.

use ipc_tests::{cases::skip, deep};

use crate::errors;
use crate::lanes::{Lane, Step, walk_all};
use crate::scenario::{HURRIED, Starts};
use crate::tracer::{Act, Errno, Point, Side};

/// How long a call keeps failing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fails {
    Once,
    Lastingly,
}

/// Calls whose failure cannot be survived without a loss, and why: children are not reaped before
/// main ends. Everything else must be as usual.
struct Lost {
    side: Side,
    fails: Fails,
    calls: &'static [libc::c_long],
    errors: &'static [i32],
    why: &'static str,
}

/// The calls that report a child's end; the older one is for systems without pidfds.
const WAITS: &[libc::c_long] = &[libc::SYS_waitid, libc::SYS_wait4];

const LOST: &[Lost] = &[
    Lost {
        side: Side::Main,
        fails: Fails::Once,
        calls: WAITS,
        errors: &[libc::ECHILD, libc::ESRCH, libc::EINTR, libc::EAGAIN],
        why: "ECHILD means that another part of the program has reaped the child; the others \
              cannot come from a call that does not block: main gets Ended::Unknown",
    },
    Lost {
        side: Side::Main,
        fails: Fails::Lastingly,
        calls: WAITS,
        errors: &[libc::ECHILD, libc::ESRCH, libc::EINTR, libc::EAGAIN, libc::EINVAL],
        why: "nothing else reaps a child: main gets Ended::Unknown",
    },
];

pub(crate) fn each_call_of_main_fails_once<S: Starts>() {
    walk::<S>(Side::Main, Fails::Once);
}

pub(crate) fn each_call_of_main_fails_from_then_on<S: Starts>() {
    walk::<S>(Side::Main, Fails::Lastingly);
}

pub(crate) fn each_call_of_the_worker_fails_once<S: Starts>() {
    walk::<S>(Side::Worker, Fails::Once);
}

pub(crate) fn each_call_of_the_worker_fails_from_then_on<S: Starts>() {
    walk::<S>(Side::Worker, Fails::Lastingly);
}

/// Each call fails with one error, a different one of its list each time; or with all of them.
fn walk<S: Starts>(side: Side, fails: Fails) {
    if cfg!(not(target_arch = "x86_64")) {
        skip("failing calls through the registers of x86_64", "such a machine");
    }
    let name = format!("each call fails, {side:?}, {fails:?}");
    let tally = walk_all(&name, |lane, index| {
        if !deep::is_asked_for() {
            return fail::<S>(lane, side, fails, index, index);
        }
        let mut variant = 0;
        loop {
            let step = fail::<S>(lane, side, fails, index, variant);
            let Step::Walked(number) = step else { return step };
            variant += 1;
            if errors::of(number).is_none_or(|(.., errors)| variant >= errors.len()) {
                return step;
            }
        }
    });
    for (lost, count) in LOST.iter().zip(&tally.lost) {
        let is_here = (lost.side, lost.fails) == (side, fails);
        let is_due = is_here && deep::is_asked_for();
        assert!(!is_due || count.get() > 0, "now survived: calls {:?}, {}", lost.calls, lost.why);
    }
}

fn fail<S: Starts>(
    lane: &Lane<'_>,
    side: Side,
    fails: Fails,
    index: usize,
    variant: usize,
) -> Step {
    let errno = move |number| {
        let (.., errors) = errors::of(number)?;
        errors.get(variant % errors.len()).copied()
    };
    let errno: &Errno = &errno;
    let act = match fails {
        Fails::Once => Act::Fail(errno),
        Fails::Lastingly => Act::FailFromThenOn(errno),
    };
    let what = |number| {
        let name = errors::of(number).map_or("", |(_, name, _)| name);
        format!("{side:?}, {fails:?}, call {index}, {name}: error {:?}", errno(number))
    };
    let place = |number| {
        let errno = errno(number);
        LOST.iter().position(|lost| {
            let is_it = (lost.side, lost.fails) == (side, fails) && lost.calls.contains(&number);
            is_it && errno.is_some_and(|errno| lost.errors.contains(&errno))
        })
    };
    lane.walk::<S>(HURRIED, &Point { side, index, act }, what, place)
}
