//! Main or a worker is killed before and after each of its system calls.

use crate::lanes::{Step, walk_all};
use crate::scenario::{PATIENT, Starts};
use crate::tracer::{Act, Point, Side};

/// Checks that the walk covers the whole scenario.
pub(crate) fn unharmed_it_is_played_to_its_end<S: Starts>() {
    for side in [Side::Main, Side::Worker] {
        walk_all("unharmed", |lane, _| {
            let point = Point { side, index: usize::MAX, act: Act::Nothing };
            lane.walk::<S>(PATIENT, &point, |_| "unharmed".into(), |_| None);
            Step::Over
        });
    }
}

pub(crate) fn the_worker_is_killed_before_each_call<S: Starts>() {
    walk::<S>("killed before, worker", Side::Worker, || Act::KillBefore);
}

pub(crate) fn the_worker_is_killed_after_each_call<S: Starts>() {
    walk::<S>("killed after, worker", Side::Worker, || Act::KillAfter);
}

pub(crate) fn main_is_killed_before_each_call<S: Starts>() {
    walk::<S>("killed before, main", Side::Main, || Act::KillBefore);
}

pub(crate) fn main_is_killed_after_each_call<S: Starts>() {
    walk::<S>("killed after, main", Side::Main, || Act::KillAfter);
}

/// A program that found main dead before it knew that it was a worker continued as another main.
pub(crate) fn repro_a_program_whose_main_has_died_is_no_second_main<S: Starts>() {
    const STARTS: [libc::c_long; 2] = [libc::SYS_clone, libc::SYS_clone3];
    walk_all("killed while the worker starts, main", |lane, number| {
        let calls = lane.calls::<S>(Side::Main);
        let mut starts = (0..calls.len()).filter(|&index| STARTS.contains(&calls[index]));
        let Some(index) = starts.nth(number) else { return Step::Over };
        let point = Point { side: Side::Main, index, act: Act::KillAfter };
        lane.walk::<S>(PATIENT, &point, |_| format!("main, call {index}"), |_| None)
    });
}

fn walk<S: Starts>(name: &str, side: Side, act: impl Fn() -> Act<'static>) {
    walk_all(name, |lane, index| {
        let point = Point { side, index, act: act() };
        let what = |call| format!("{name}, call {index}, number {call}");
        lane.walk::<S>(PATIENT, &point, what, |_| None)
    });
}
