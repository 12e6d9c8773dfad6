//! `cargo xtask fuzz`: generated inputs for the decoders and the ring.

use std::{ffi::OsString, process::Command};

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt as _,
};

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Feeds generated inputs to a decoder or the ring, until a limit is reached or an input breaks it.
Needs nightly Rust and cargo-fuzz, and is skipped without them.

Usage: cargo xtask fuzz TARGET [OPTIONS]

Targets:
  decode    the decoder of frames, with bytes in pieces of any size
  join      the joiner, with frames in pieces of any size and any descriptors
  ring      both sides of a ring in shared memory, with a peer that writes anything anywhere
  text      the text of reasons and refusals
  typed     messages in the postcard format

Options:
  --inputs N     stop after N inputs [default: 10000000 unless --seconds is given]
  --seconds N    stop after N seconds
  -h, --help     print this help

Inputs that reach new code are kept in ipc-frame/fuzz/corpus. An input that breaks the target is
kept in ipc-frame/fuzz/artifacts.

Exit codes: 0 no input broke the target or the run was skipped, 1 an input did or the run failed,
2 wrong arguments";

const TARGETS: [&str; 5] = ["decode", "join", "ring", "text", "typed"];
const INPUTS: u64 = 10_000_000;
/// The longest input. Longer ones are slower and find nothing new: the decoder under test holds 64
/// bytes.
const LONGEST: &str = "-max_len=512";

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) inputs: Option<u64>,
    pub(crate) seconds: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: &'static str,
    limits: Limits,
}

/// Runs the verb.
pub(crate) fn run(args: Parser) -> Result<(), Failure> {
    let Some(Options { target, limits }) = parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    let step = step(&workspace, "fuzz", target, limits);
    steps::run(&workspace, vec![step])
}

/// Returns a step that only checks that the targets build.
pub(crate) fn check(workspace: &Workspace) -> Step {
    const NAME: &str = "fuzz, check";
    if tools::output(Command::new("c++").arg("--version")).is_none() {
        return Step::skip(NAME, "check of the fuzz targets (install with: apt-get install g++)");
    }
    let check = ["check", "--locked", "--manifest-path", "ipc-frame/fuzz/Cargo.toml"];
    Step::command(NAME, workspace.cargo(&check))
}

/// Returns the step that fuzzes the target, or says why it cannot run here.
pub(crate) fn step(
    workspace: &Workspace,
    name: &'static str,
    target: &str,
    limits: Limits,
) -> Step {
    if !tools::has_nightly(workspace, None) {
        return Step::skip(name, "fuzzing (install with: rustup toolchain install nightly)");
    }
    if !tools::has_nightly(workspace, Some("fuzz")) {
        return Step::skip(name, "fuzzing (install with: cargo install --locked cargo-fuzz)");
    }
    let mut fuzz = tools::nightly(workspace, &["fuzz", "run", "--fuzz-dir", "ipc-frame/fuzz"]);
    fuzz.args([target, "--", LONGEST, "-print_final_stats=1"]);
    fuzz.args(limits.inputs.map(|inputs| format!("-runs={inputs}")));
    fuzz.args(limits.seconds.map(|seconds| format!("-max_total_time={seconds}")));
    Step::command(name, fuzz)
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut args: Parser) -> Result<Option<Options>, Failure> {
    let mut target = None;
    let mut limits = Limits { inputs: None, seconds: None };
    while let Some(arg) = args.next()? {
        match arg {
            Long("inputs") => limits.inputs = Some(args.value()?.parse()?),
            Long("seconds") => limits.seconds = Some(args.value()?.parse()?),
            Value(name) if target.is_none() => target = Some(known(&name)?),
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    let target = target.ok_or_else(|| Failure::Arguments("no target".into()))?;
    if limits.inputs.is_none() && limits.seconds.is_none() {
        limits.inputs = Some(INPUTS);
    }
    Ok(Some(Options { target, limits }))
}

fn known(name: &OsString) -> Result<&'static str, Failure> {
    let target = TARGETS.into_iter().find(|target| name == target);
    target.ok_or_else(|| Failure::Arguments(format!("no target {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>, Failure> {
        parse(Parser::from_args(args))
    }

    #[test]
    fn ten_million_inputs_are_meant_where_nothing_is_said() {
        let limits = |args: &[&str]| parsed(args).unwrap().unwrap().limits;
        let inputs = Some(INPUTS);
        assert_eq!(limits(&["decode"]), Limits { inputs, seconds: None });
        let seconds = Some(9);
        assert_eq!(limits(&["text", "--seconds", "9"]), Limits { inputs: None, seconds });
    }

    #[test]
    fn unknown_targets_and_options_are_wrong_arguments() {
        for args in [&["nothing"][..], &[], &["decode", "--inputs", "x"], &["decode", "text"]] {
            assert!(matches!(parsed(args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }
}
