//! `cargo xtask size`: the size of the log daemon without a C library, as a file and in memory,
//! compared with other daemons.

mod file;
mod memory;
mod others;
mod parts;
mod table;

use std::path::PathBuf;

use lexopt::Arg::{Long, Short};
use serde_json::{Value, json};

use crate::{
    failure::Failure,
    steps::Step,
    tinylogd::{self, Machine, Symbols},
    tools,
    workspace::Workspace,
};
use file::Sizes;
use memory::Resident;
use others::{MUSL, Program};

const HELP: &str = "\
Builds tests/tinylogd for every machine with start code and an installed target, and prints its
size: the file, its sections, its memory after 10,000 messages, each part of the sources, and the
ten largest functions. Compares it with the same daemon with a C library, with the standard
library, and with busybox's syslogd. Missing tools are skipped; the output says how to install
them.

Usage: cargo xtask size [OPTIONS]

Options:
      --json FILE    also write all figures to FILE
      --limits       only compare the figures that have a limit, as `cargo xtask ci` does
  -h, --help         print this help

Exit codes: 0 success, 1 something cannot be built or is over its limit, 2 wrong arguments";

/// The limits on x86_64: the present sizes, plus two pages of memory, since a stack begins anywhere
/// in a page, and 1 % of the daemon's file. The name of the workspace's folder is part of each
/// symbol's hash, so it decides what is inlined: in some folders the file has 400 bytes more.
/// Lower a limit when the size gets smaller.
const LIMITS: Limits = Limits { daemon: 108_100, barrier: 8_192, main: 92, worker: 64 };

/// Bytes of the stripped files, and KiB of each process's private memory.
struct Limits {
    daemon: u64,
    barrier: u64,
    main: u64,
    worker: u64,
}

/// How many functions are shown.
const FUNCTIONS: usize = 10;

/// Runs the verb.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    let (mut json, mut only_limits) = (None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("json") => json = Some(PathBuf::from(args.value()?)),
            Long("limits") => only_limits = true,
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let workspace = Workspace::find()?;
    if only_limits {
        return check(&workspace);
    }
    let report = Report::make(&workspace)?;
    print!("\n{}", table::text(&report));
    for skipped in &report.skipped {
        println!("skipped: {skipped}");
    }
    match json {
        Some(path) => std::fs::write(&path, format!("{:#}\n", report.json()))
            .map_err(Failure::of(&format!("write {}", path.display()))),
        None => Ok(()),
    }
}

/// Returns the step that compares with the limits.
pub(crate) fn step(workspace: &Workspace) -> Step {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Step::skip("size", "size (x86_64 Linux only)");
    }
    if !tools::has_target(workspace, MUSL) {
        let why = "size (install with: rustup target add x86_64-unknown-linux-musl)";
        return Step::skip("size", why);
    }
    Step::call("size", check)
}

fn check(workspace: &Workspace) -> Result<(), Failure> {
    let folder = tinylogd::build(workspace, MUSL, Symbols::Stripped)?;
    let [daemon, barrier] = [folder.join("tinylogd"), folder.join("examples/barrier")];
    let resident = memory::of_daemon(&daemon)?;
    let figures = [
        ("tinylogd, stripped, bytes", Sizes::of(&daemon)?.file, LIMITS.daemon),
        ("barrier, stripped, bytes", Sizes::of(&barrier)?.file, LIMITS.barrier),
        ("tinylogd's main, private memory, KiB", resident.main.private, LIMITS.main),
        ("tinylogd's worker, private memory, KiB", resident.worker.private, LIMITS.worker),
    ];
    let mut over = Vec::new();
    for (what, has, limit) in figures {
        println!("{what}: {has} of at most {limit}");
        if has > limit {
            over.push(format!("{what}: {} too many", has - limit));
        }
    }
    if over.is_empty() { Ok(()) } else { Err(Failure::Failed(over.join("; "))) }
}

/// Everything that was measured.
struct Report {
    /// The daemon and the smallest program with the barrier, for each machine.
    machines: Vec<(Machine, &'static str, Sizes, Sizes)>,
    functions: Vec<(String, u64)>,
    parts: Vec<(String, u64)>,
    programs: Vec<(Program, Sizes, Resident)>,
    skipped: Vec<String>,
}

impl Report {
    fn make(workspace: &Workspace) -> Result<Self, Failure> {
        let (mut machines, mut skipped) = (Vec::new(), Vec::new());
        for machine in Machine::ALL {
            match machine.target(workspace) {
                Ok(target) => {
                    let folder = tinylogd::build(workspace, target, Symbols::Stripped)?;
                    let daemon = Sizes::of(&folder.join("tinylogd"))?;
                    let barrier = Sizes::of(&folder.join("examples/barrier"))?;
                    machines.push((machine, target, daemon, barrier));
                }
                Err(missing) => skipped.push(missing),
            }
        }
        let target = Machine::X86_64.target(workspace).map_err(Failure::Failed)?;
        let folder = tinylogd::build(workspace, target, Symbols::Kept)?;
        let parts = parts::parts(&folder.join("tinylogd"))?;
        let mut functions = file::functions(&folder.join("tinylogd"))?;
        functions.truncate(FUNCTIONS);
        let mut programs = Vec::new();
        for program in Program::ALL {
            match program.measure(workspace)? {
                Ok((sizes, resident)) => programs.push((program, sizes, resident)),
                Err(missing) => skipped.push(missing),
            }
        }
        Ok(Self { machines, functions, parts, programs, skipped })
    }

    fn json(&self) -> Value {
        let machine = |(machine, target, daemon, barrier): &(Machine, &str, Sizes, Sizes)| {
            json!({
                "machine": machine.name(), "target": target,
                "tinylogd": daemon.json(), "barrier": barrier.json(),
            })
        };
        let program = |(program, sizes, resident): &(Program, Sizes, Resident)| {
            json!({
                "program": program.name(), "file": sizes.json(),
                "main": resident.main.json(), "worker": resident.worker.json(),
            })
        };
        let function = |(name, bytes): &(String, u64)| json!({ "function": name, "bytes": bytes });
        let part = |(name, bytes): &(String, u64)| json!({ "part": name, "bytes": bytes });
        json!({
            "machines": self.machines.iter().map(machine).collect::<Value>(),
            "programs": self.programs.iter().map(program).collect::<Value>(),
            "parts": self.parts.iter().map(part).collect::<Value>(),
            "functions": self.functions.iter().map(function).collect::<Value>(),
            "skipped": self.skipped,
        })
    }
}
