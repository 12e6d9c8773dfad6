//! What a round trip costs besides time: system calls, allocations, memory.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::contender::Entrant;
use crate::launch::launch;
use crate::peers::ALL;
use crate::results::{Cost, Outsider};
use crate::single::{Effort, Found};
use crate::work::{Job, Work};

/// The work done while counting.
pub(crate) const JOB: Job = Job { work: Work::RoundTrip { size: 64 }, cpus: 1 };

pub(crate) fn has_strace() -> bool {
    let mut strace = Command::new("strace");
    strace.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    strace.status().is_ok_and(|status| status.success())
}

/// Measures the costs of each contender that can do the work.
pub(crate) fn measure(rounds: usize, has_strace: bool) -> (Vec<Cost>, Vec<Outsider>) {
    let (mut costs, mut outsiders) = (Vec::new(), Vec::new());
    for entrant in ALL {
        match launch(entrant, JOB, Effort::Rounds(rounds), None) {
            Found::Counted { allocations, main, peers } => costs.push(Cost {
                name: entrant.name.into(),
                system_calls: has_strace.then(|| system_calls(entrant, rounds)).flatten(),
                allocations,
                main,
                peer: peers,
            }),
            // The race has reported it.
            Found::Elsewhere | Found::LeftOut(_) | Found::Nanoseconds(_) => {}
            Found::Failed(why) => outsiders.push(Outsider::new(JOB, entrant.name, why, true)),
        }
    }
    (costs, outsiders)
}

/// Returns the system calls per round trip: the difference between a longer and a shorter run, so
/// that start and end do not count.
fn system_calls(entrant: &Entrant, few: usize) -> Option<f64> {
    let many = 3 * few;
    let (few_calls, many_calls) = (traced(entrant, few)?, traced(entrant, many)?);
    Some(many_calls.saturating_sub(few_calls) as f64 / (many - few) as f64)
}

fn traced(entrant: &Entrant, rounds: usize) -> Option<u64> {
    let summary = tempfile::NamedTempFile::new().ok()?;
    let strace = ["strace", "-f", "-c", "-o"].map(OsStr::new);
    let tracer = [&strace[..], &[summary.path().as_os_str()]].concat();
    match launch(entrant, JOB, Effort::Rounds(rounds), Some(&tracer)) {
        Found::Counted { .. } => total(&std::fs::read_to_string(summary.path()).ok()?),
        _ => None,
    }
}

/// The last line: share, seconds, µs per call, calls, errors if any, "total".
fn total(summary: &str) -> Option<u64> {
    let line = summary.lines().rfind(|line| line.ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_the_fourth_of_the_last_line() {
        let summary = "% time seconds usecs/call calls errors syscall\n 99 0.1 2 300 5 recvfrom\n\
                       100.00    0.101           2       421         7 total\n";
        assert_eq!(total(summary), Some(421));
        assert_eq!(total("strace: no"), None);
    }
}
