//! Walks of many points at the same time: each mostly waits.

#![expect(unsafe_code, reason = "closes descriptors that the case inherited")]

use std::fs::File;
use std::path::{Path, PathBuf};

use ipc_barrier::{Ended, process::close_all_but};
use ipc_tests::cases::skip;
use ipc_tests::forked::forked;

use crate::record::{Count, Record, Tally, clear, map};
use crate::scenario::{PATIENT, Pace, Starts, play};
use crate::tracer::{self, Act, Point, Seen, Side};
use crate::verdict;

/// How many walks run at a time.
const LANES: usize = 4;

/// A lane's folder, its remaining points and its results.
pub(crate) struct Lane<'a> {
    number: usize,
    home: &'a Path,
    record: &'static Record,
    tally: &'static Tally,
}

/// The result for a point.
pub(crate) enum Step {
    /// It was walked, or there was nothing to do; with the call's number.
    Walked(libc::c_long),
    /// The scenario has no such call: the walk is over.
    Over,
}

impl Lane<'_> {
    /// Returns the calls of an undisturbed run.
    pub(crate) fn calls<S: Starts>(&self, side: Side) -> Vec<libc::c_long> {
        self.run::<S>(PATIENT, &Point { side, index: usize::MAX, act: Act::Nothing }).calls
    }

    /// The standard error of the last run's processes.
    fn said(&self) -> PathBuf {
        self.home.join(format!("said-{}", self.number))
    }

    fn run<S: Starts>(&self, pace: Pace, point: &Point<'_>) -> Seen {
        let path = self.home.join(format!("record-{}", self.number));
        clear(&path);
        let said = File::create(self.said()).unwrap();
        let seen = tracer::run(point, || {
            rustix::stdio::dup2_stderr(&said).unwrap();
            drop(said);
            play::<S>(&path, self.record, pace);
        });
        if seen.unable {
            skip("walking by ptrace: not allowed here", "a kernel of 5.3, no sandbox");
        }
        seen
    }

    /// Runs the scenario and judges it; failures are printed and counted. If the only failure is
    /// that children are left, it may count as a known loss.
    pub(crate) fn walk<S: Starts>(
        &self,
        pace: Pace,
        point: &Point<'_>,
        what: impl Fn(libc::c_long) -> String,
        lost: impl Fn(libc::c_long) -> Option<usize>,
    ) -> Step {
        let is_whole = matches!(point.act, Act::Nothing);
        let index = if is_whole { 0 } else { point.index };
        let mut verdict = None;
        // Try again if there were fewer calls than usual, or if the tracer was delayed: a child
        // that it still holds cannot be reaped.
        for _ in 0..3 {
            let seen = self.run::<S>(pace, point);
            let Some(&call) = seen.calls.get(index) else { continue };
            let judged = verdict::judge(point, &seen, self.record);
            let left = verdict::judge_children(&seen, self.record).err();
            let is_clear = judged.is_err() || left.is_none();
            verdict = Some((call, seen.acted || is_whole, judged, left));
            if is_clear {
                break;
            }
        }
        let Some((call, acted, judged, left)) = verdict else { return Step::Over };
        if acted {
            self.tally.points.up();
        }
        let place = left.as_ref().and_then(|_| lost(call));
        if let Some(count) = place.and_then(|place| self.tally.lost.get(place)) {
            count.up();
        }
        if let Err(why) = judged.and(left.filter(|_| place.is_none()).map_or(Ok(()), Err)) {
            self.tally.failures.up();
            let said = std::fs::read_to_string(self.said()).unwrap_or_default();
            println!("{}: {why}\n{said}", what(call));
        }
        Step::Walked(call)
    }
}

/// Walks points until there are no more, prints how many there were, and returns the tally.
pub(crate) fn walk_all(name: &str, each: impl Fn(&Lane<'_>, usize) -> Step) -> &'static Tally {
    let home = tempfile::tempdir().unwrap();
    let tally: &Tally = map(&home.path().join("tally")).unwrap();
    // SAFETY: nothing here opened any of them.
    unsafe { close_all_but(&[]) }.unwrap();
    let lanes = (0..LANES).map(|number| {
        forked(|| {
            tracer::prepare();
            let record = map(&home.path().join(format!("record-{number}"))).unwrap();
            let lane = Lane { number, home: home.path(), record, tally };
            let points = (number..).step_by(LANES);
            points.take_while(|&at| !matches!(each(&lane, at), Step::Over)).count();
        })
    });
    let mut lanes: Vec<_> = lanes.collect();
    let ends: Vec<_> = lanes.iter_mut().map(ipc_barrier::Child::wait).collect();
    if ends.contains(&Ended::Exited(77)) {
        skip("walking by ptrace: not allowed here", "a kernel of 5.3, no sandbox");
    }
    let lost: u32 = tally.lost.iter().map(Count::get).sum();
    let (points, failures) = (tally.points.get(), tally.failures.get());
    println!("{name}: {points} points, {failures} failed, {lost} cannot be survived");
    assert_eq!(ends, vec![Ended::Exited(0); LANES]);
    assert_eq!(failures, 0);
    tally
}
