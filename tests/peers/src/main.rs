//! Compares the crates with others that do the same work: `cargo xtask bench --peers`.
//!
//! A table is a kind of work, such as a round trip of 64 bytes on one CPU. In each repetition all
//! contenders do the work in turn, in a new order. Each runs in a separate process that starts,
//! warms up and is timed for a while. The result is the ratio to the floor in the same repetition.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a failure panics")]

mod contender;
mod costs;
mod counting;
#[path = "../../benches/speed/cpus.rs"]
mod cpus;
mod echo;
mod launch;
mod machine;
mod memory;
mod message;
mod options;
mod peers;
mod print;
mod race;
mod report;
mod results;
mod single;
mod sizes;
mod work;

use std::process::ExitCode;

use crate::counting::Counting;
use crate::cpus::Cpus;
use crate::machine::Machine;
use crate::options::Options;
use crate::results::Results;
use crate::work::Job;

/// Whether messages larger than 4 KiB are measured.
const LARGE: bool = true;

/// What a filter may select besides the rows of the race.
const COSTS: &str = "costs";
const SIZES: &str = "sizes";

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    peers::serve_if_asked();
    peers::init_procspawn();
    if launch::measure_if_asked() {
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("peers: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let results = match &options.from {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            serde_json::from_str(&text).map_err(|error| {
                format!("{} is not the result of a run: {error}", path.display())
            })?
        }
        None => measured(options),
    };
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&results).expect("figures and text are valid JSON");
        std::fs::write(path, text)
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if let Some(folder) = &options.report {
        report::write(&results, folder)
            .map_err(|error| format!("cannot write to {}: {error}", folder.display()))?;
    }
    Ok(())
}

fn measured(options: &Options) -> Results {
    let machine = Machine::this();
    print::machine(&machine);
    let mut results = Results {
        machine,
        is_quick: options.is_quick,
        rows: Vec::new(),
        costs: Vec::new(),
        sizes: Vec::new(),
        outsiders: Vec::new(),
        skipped: Vec::new(),
    };
    let mut jobs = Job::all();
    if Cpus::allowed().count() < 2 {
        jobs.retain(|job| job.cpus == 1);
        results.skipped.push("two CPUs (this process may use only one)".into());
    }
    let count = jobs.len();
    for (index, job) in jobs.into_iter().enumerate() {
        let table = race::measure(job, &options.filter, options.pace);
        if !table.rows.is_empty() {
            println!("\n[{:2}/{count}] {job}", index + 1);
            print::rows(&table.rows);
        }
        results.rows.extend(table.rows);
        results.outsiders.extend(table.outsiders);
    }
    if options.wants(COSTS) {
        let has_strace = costs::has_strace();
        if !has_strace {
            results.skipped.push("system calls (install with: apt-get install strace)".into());
        }
        println!("\nof {}", costs::JOB);
        let (costs, failed) = costs::measure(options.pace.counted, has_strace);
        print::costs(&costs);
        results.costs = costs;
        results.outsiders.extend(failed);
    }
    if options.wants(SIZES) && (!options.filter.is_empty() || !options.is_quick) {
        println!("\nsize of the smallest program in bytes, stripped");
        let (sizes, failures) = sizes::measure();
        results.sizes = sizes;
        results.skipped.extend(failures);
    }
    print::absent(&results);
    results
}
