//! `cargo xtask demo`: the example daemon under load, with its worker killed and stopped.

mod chart;
mod daemon;
mod figures;
mod ledger;
mod load;
mod logger;
mod machine;
mod measured;
mod message;
mod options;
mod phase;
mod program;
mod report;
mod run;
mod stats;
mod verdict;

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

use crate::{failure::Failure, workspace::Workspace};
use daemon::{Mode, Setup};
use machine::Machine;
use options::{HELP, Options};
use phase::{Phase, Plan};
use report::Report;
use run::{Conditions, Finished};

/// How late the ticks were.
const CHART: &str = "docs/bench/tick.svg";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = Options::parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    // If the file cannot be written, fail before the run, not after it.
    let mut json = options.json.as_deref().map(create).transpose()?;
    let place = Place::new(options.path.as_deref())?;
    let workspace = Workspace::find()?;
    let program = program::build(&workspace)?;

    let interrupted = catch_signals().map_err(Failure::of("catch signals"))?;
    let runs = drive(&program, &place, &options, &interrupted).map_err(|failure| {
        if interrupted.load(Relaxed) { Failure::Failed("interrupted".into()) } else { failure }
    })?;

    let machine = Machine::of(place.files.path());
    let checks = verdict::checks(&runs, options.stall);
    let report = Report { options: &options, machine: &machine, runs: &runs, checks: &checks };
    report.print();
    if let Some(file) = &mut json {
        writeln!(file, "{:#}", report.json()).map_err(Failure::of("write the JSON file"))?;
    }
    if !report.is_ok() {
        return Err(Failure::Failed("a check failed".into()));
    }
    if options.report { draw(&report, &workspace) } else { Ok(()) }
}

/// Draws the chart of the ticks' lateness.
fn draw(report: &Report<'_>, workspace: &Workspace) -> Result<(), Failure> {
    let path = workspace.root().join(CHART);
    chart::draw(&path, report).map_err(Failure::of(&format!("write {CHART}")))?;
    println!("drawn: {CHART}");
    Ok(())
}

/// Runs a daemon that writes inline, then a daemon with a worker.
fn drive(
    program: &Path,
    place: &Place,
    options: &Options,
    interrupted: &AtomicBool,
) -> Result<[Finished; 2], Failure> {
    let has_logger = logger::is_installed();
    if !has_logger {
        println!("{}", logger::MISSING);
    }
    let conditions = Conditions { rate: options.rate, has_logger, interrupted };
    let start = |mode, name, plans: &[Plan]| {
        let dir = place.files.path().join(name);
        fs::create_dir(&dir).map_err(Failure::of("make a folder for logd's files"))?;
        let socket = place.socket.path().join(name);
        let setup = Setup { program, socket: &socket, dir: &dir, stall: options.stall };
        run::run(&setup, mode, plans, &conditions)
    };
    let in_line = [Plan::steady(Phase::InLine, options.seconds)];
    let worker = [Plan::steady(Phase::Worker, options.seconds), Plan::kills(), Plan::stopped()];
    Ok([start(Mode::InLine, "in-line", &in_line)?, start(Mode::Worker, "worker", &worker)?])
}

/// Folders that are removed at the end.
struct Place {
    /// Not with the files, since a socket's path has at most 107 bytes.
    socket: TempDir,
    files: TempDir,
}

impl Place {
    fn new(path: Option<&Path>) -> Result<Self, Failure> {
        let folder = || tempfile::Builder::new().prefix("logd-demo-").to_owned();
        let socket = folder().tempdir().map_err(Failure::of("make a folder for the socket"))?;
        let files = match path {
            Some(path) => folder().tempdir_in(path),
            None => folder().tempdir(),
        };
        let doing = "make a folder for logd's files (give --path a folder that can be written to)";
        Ok(Self { socket, files: files.map_err(Failure::of(doing))? })
    }
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(Failure::of(&format!("write {}", path.display())))
}

/// Signals that ask the demo to end only set a flag, so that it can clean up.
fn catch_signals() -> std::io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}
