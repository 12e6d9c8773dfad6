//! System calls per operation on both sides together, counted by strace.

use std::process::{Command, Stdio};

use ipc_tests::speed::Plan;

use crate::contender::subject;
use crate::cpus::{Cpus, pin};
use crate::options::Effort;

/// Set in the traced process: the row, and the number of operations.
const ROW: &str = "IPC_SPEED_ROW";
const OPERATIONS: &str = "IPC_SPEED_OPERATIONS";

/// Seconds after which a traced run is killed.
const LIMIT: &str = "60";

pub(crate) fn is_installed() -> bool {
    Command::new("strace").arg("--version").output().is_ok()
}

/// Returns the row and the number of operations if this process runs under strace.
pub(crate) fn asked() -> Option<(Plan, usize)> {
    let row: usize = std::env::var(ROW).ok()?.parse().ok()?;
    let operations = std::env::var(OPERATIONS).ok()?.parse().ok()?;
    Some((*Plan::all().get(row)?, operations))
}

/// Runs operations of the subject alone.
pub(crate) fn run(plan: &Plan, cpus: Cpus, operations: usize) {
    let (own_cpu, peer_cpu) = cpus.of(plan.cpus);
    pin(own_cpu);
    subject(plan, peer_cpu).run(operations, &mut Vec::with_capacity(operations));
}

/// Returns the system calls per operation: the difference between a longer and a shorter run, so
/// that start and end do not count. Returns `None` if strace is missing, does not work or is not
/// wanted.
#[expect(clippy::cast_precision_loss, reason = "counts of thousands")]
pub(crate) fn per_operation(plan: &Plan, effort: &Effort) -> Option<f64> {
    if plan.cpus > effort.traced_cpus {
        return None;
    }
    // A multiple of 32, so that rounds are whole.
    let few = effort.traced.next_multiple_of(32);
    let many = 3 * few;
    let (few_calls, many_calls) = (traced(plan, few)?, traced(plan, many)?);
    Some(many_calls.saturating_sub(few_calls) as f64 / (many - few) as f64)
}

fn traced(plan: &Plan, operations: usize) -> Option<u64> {
    let row = Plan::all().iter().position(|other| other == plan)?;
    let summary = tempfile::NamedTempFile::new().ok()?;
    let status = Command::new("timeout")
        .args(["--signal=KILL", LIMIT, "strace", "-f", "-c", "-o"])
        .arg(summary.path())
        .arg(std::env::current_exe().ok()?)
        .env(ROW, row.to_string())
        .env(OPERATIONS, operations.to_string())
        .stdin(Stdio::null())
        .status()
        .ok()?;
    if !status.success() {
        return None;
    }
    let summary = std::fs::read_to_string(summary.path()).ok()?;
    // The last line: share, seconds, µs per call, calls, errors if any, "total".
    let total = summary.lines().rfind(|line| line.ends_with("total"))?;
    total.split_whitespace().nth(3)?.parse().ok()
}
