//! The one door for tools: `cargo xtask VERB`, one file per verb.

mod bench;
mod ci;
mod deep;
mod demo;
mod failure;
mod fuzz;
mod layers;
mod lines;
mod miri;
mod modules;
mod package;
mod process;
mod source;
mod steps;
mod test;
mod tiny;
mod tools;
mod workspace;

use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};

use failure::Failure;

const HELP: &str = "\
The one door for this project's tools.

Usage: cargo xtask VERB [OPTIONS]

Verbs:
  demo    drive the example daemon logd under load, kill its worker, count every message
  test    run all tests, and the static program with no C library
  ci      everything that must hold: format, lints, tests, docs, bare metal
  lines   count the code of each crate and compare it with its limit
  layers  look for files that import each other
  package test the crates as they would be published
  bench   measure beside the bare calls of the system, and print the ratios
  fuzz    any bytes into what decodes them
  miri    the tests of ipc-frame in an interpreter that sees undefined behaviour
  deep    what takes too long for ci: a minute of fuzz, miri, long races and traffic

Options:
  -h, --help    print this help; `cargo xtask VERB --help` prints that of a verb

Exit codes: 0 all is well, 1 something failed, 2 wrong arguments";

fn main() -> ExitCode {
    match run(lexopt::Parser::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            failure.exit_code()
        }
    }
}

fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    match args.next()? {
        Some(Long("help") | Short('h')) => {
            println!("{HELP}");
            Ok(())
        }
        Some(Value(verb)) if verb == "demo" => demo::run(args),
        Some(Value(verb)) if verb == "test" => test::run(args),
        Some(Value(verb)) if verb == "ci" => ci::run(args),
        Some(Value(verb)) if verb == "lines" => lines::run(args),
        Some(Value(verb)) if verb == "layers" => layers::run(args),
        Some(Value(verb)) if verb == "package" => package::run(args),
        Some(Value(verb)) if verb == "bench" => bench::run(args),
        Some(Value(verb)) if verb == "fuzz" => fuzz::run(args),
        Some(Value(verb)) if verb == "miri" => miri::run(args),
        Some(Value(verb)) if verb == "deep" => deep::run(args),
        Some(Value(verb)) => Err(Failure::Arguments(format!("no verb {verb:?}"))),
        Some(other) => Err(other.unexpected().into()),
        None => Err(Failure::Arguments("no verb".into())),
    }
}
