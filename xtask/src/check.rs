//! `cargo xtask check`: the inner loop.

use std::time::Instant;

use crate::{
    ci,
    failure::Failure,
    layers,
    lines::{self, LIMITS},
    prose,
    steps::{self, Step},
    workspace::Workspace,
};

const HELP: &str = "\
Runs the checks that take less than a minute together: format, lints, the unit tests of the four
crates, lines of code, files that import each other, and phrases to avoid. Run it after each change.
A failed step does not stop the others. `cargo xtask ci` checks the rest.

Usage: cargo xtask check

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// How many steps the model of a worker's two sides takes. The default is ten times as many.
pub(crate) const FEW_STEPS: (&str, &str) = ("IPC_STEPS", "200000");

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    if steps::only_help(args, HELP)? {
        return Ok(());
    }
    let start = Instant::now();
    let workspace = Workspace::find()?;
    let result = steps::run(&workspace, plan(&workspace));
    let ended = if result.is_ok() { "passed" } else { "failed" };
    println!("\ncheck {ended} in {:.1} s", start.elapsed().as_secs_f64());
    result
}

fn plan(workspace: &Workspace) -> Vec<Step> {
    let mut test = workspace.cargo(&["test", "--locked", "--quiet", "--lib", "--all-features"]);
    test.args(LIMITS.iter().flat_map(|(name, _)| ["--package", name]));
    test.env(FEW_STEPS.0, FEW_STEPS.1);
    vec![
        ci::format(workspace),
        Step::call("lines", lines::check),
        Step::call("layers", layers::check),
        Step::call("prose", prose::check),
        ci::clippy(workspace),
        Step::command("unit tests", test),
    ]
}
