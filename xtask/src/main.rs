//! The tools of this project: `cargo xtask VERB`, one file per verb.

mod api;
mod around;
mod bench;
mod check;
mod ci;
mod count;
mod cross;
mod deep;
mod demo;
mod failure;
mod fuzz;
mod image;
mod layers;
mod lines;
mod loom;
mod miri;
mod modules;
mod mutants;
mod package;
mod packaging;
mod process;
mod prose;
mod size;
mod source;
mod steps;
mod test;
mod tinylogd;
mod tools;
mod vendored;
mod workspace;

use std::process::ExitCode;

use lexopt::Arg::{Long, Short, Value};

use failure::Failure;

const HELP: &str = "\
Runs the tools of this project.

Usage: cargo xtask VERB [OPTIONS]

Verbs:
  check    check format, lints and unit tests: less than a minute, after each change
  test     run all tests, including those of the log daemon without a C library
  around   run the tests in sandboxes, as process 1, without /proc or standard streams
  ci       run all checks that a change must pass: format, lints, tests, docs, packages
  lines    count the code of each crate and compare it with its limit
  layers   find files that import each other
  prose    find turns of phrase to avoid
  api      compare the public API of each crate with the one on file
  package  test the crates as they would be published, and the log daemon as distributions build it
  size     build the log daemon without a C library, and print its size
  demo     put the example daemon logd under load, kill its worker, count every message
  bench    compare with bare system calls, and print the ratios
  count    count the instructions of the hot path, and compare them with those on file
  fuzz     feed generated inputs to a decoder or the ring
  loom     run models of the words that processes share under every interleaving
  miri     run the tests of code without system calls in miri, which detects undefined behaviour
  mutants  change the code, one change at a time, and check that a unit test notices
  image    build a system with a log daemon for a Linux kernel, which boots and tests itself
  cross    run the tests on other machines: 32 bits, big-endian, ARM, RISC-V
  deep     run the checks that take too long for ci: fuzzing, miri, long tests, `around`, `cross`

Options:
  -h, --help    print this help; `cargo xtask VERB --help` prints the help of a verb

Exit codes: 0 success, 1 something failed, 2 wrong arguments";

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
        Some(Value(verb)) if verb == "check" => check::run(args),
        Some(Value(verb)) if verb == "test" => test::run(args),
        Some(Value(verb)) if verb == "around" => around::run(args),
        Some(Value(verb)) if verb == "count" => count::run(args),
        Some(Value(verb)) if verb == "ci" => ci::run(args),
        Some(Value(verb)) if verb == "lines" => lines::run(args),
        Some(Value(verb)) if verb == "layers" => layers::run(args),
        Some(Value(verb)) if verb == "prose" => prose::run(args),
        Some(Value(verb)) if verb == "api" => api::run(args),
        Some(Value(verb)) if verb == "package" => package::run(args),
        Some(Value(verb)) if verb == "size" => size::run(args),
        Some(Value(verb)) if verb == "bench" => bench::run(args),
        Some(Value(verb)) if verb == "fuzz" => fuzz::run(args),
        Some(Value(verb)) if verb == "loom" => loom::run(args),
        Some(Value(verb)) if verb == "miri" => miri::run(args),
        Some(Value(verb)) if verb == "mutants" => mutants::run(args),
        Some(Value(verb)) if verb == "image" => image::run(args),
        Some(Value(verb)) if verb == "cross" => cross::run(args),
        Some(Value(verb)) if verb == "deep" => deep::run(args),
        Some(Value(verb)) => Err(Failure::Arguments(format!("no verb {verb:?}"))),
        Some(other) => Err(other.unexpected().into()),
        None => Err(Failure::Arguments("no verb".into())),
    }
}
