//! Speed compared with the bare calls, in pairs of blocks within one run: `cargo xtask bench`.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a row panics")]

mod bare;
mod bare_barrier;
mod barrier;
mod contender;
mod cpus;
mod death;
mod meeting;
mod options;
mod report;
mod row_process;
mod traced;
mod transport;
mod worker;

use std::collections::BTreeMap;
use std::process::ExitCode;

use ipc_tests::counting::Counting;
use ipc_tests::speed::{Plan, Row, json};

use crate::cpus::Cpus;
use crate::options::{Effort, Options};
use crate::row_process::Measured;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let cpus = Cpus::allowed();
    if let Some((plan, operations)) = traced::asked() {
        traced::run(&plan, cpus, operations);
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("speed: {error}");
            return ExitCode::from(2);
        }
    };
    report::machine(cpus);
    let (plans, left_out) = chosen(&options, cpus);
    let (rows, failures) = measure(&plans, &options.effort, cpus);
    report::table(&rows);
    for (why, count) in &left_out {
        println!("{why}: {count} rows");
    }
    if !traced::is_installed() {
        println!("skipped: system calls (install with: apt-get install strace)");
    }
    for plan in &failures {
        println!("failed: {plan}");
    }
    if let Some(path) = &options.json {
        if let Err(error) = std::fs::write(path, json(&rows)) {
            eprintln!("speed: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the rows to measure, and how many cannot be measured, by reason.
fn chosen(options: &Options, cpus: Cpus) -> (Vec<Plan>, BTreeMap<String, usize>) {
    let filter = options.filter.as_deref().unwrap_or_default();
    let (mut plans, mut left_out) = (Vec::new(), BTreeMap::new());
    for plan in Plan::all() {
        if !plan.to_string().contains(filter) {
            continue;
        }
        if plan.cpus > cpus.count() {
            let why = "skipped: two processors (this process may use only one)";
            *left_out.entry(why.to_owned()).or_default() += 1;
        } else {
            plans.push(plan);
        }
    }
    (plans, left_out)
}

/// Measures each row in its own process, and counts its system calls in another.
fn measure(plans: &[Plan], effort: &Effort, cpus: Cpus) -> (Vec<Row>, Vec<Plan>) {
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (index, plan) in plans.iter().enumerate() {
        println!("[{:2}/{}] {plan}", index + 1, plans.len());
        match row_process::measure(plan, effort, cpus) {
            Some(Measured { figures, allocations }) => {
                let syscalls = traced::per_operation(plan, effort);
                rows.push(Row { plan: *plan, figures, syscalls, allocations });
            }
            None => failures.push(*plan),
        }
    }
    (rows, failures)
}
