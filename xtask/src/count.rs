//! `cargo xtask count`: instructions of the hot path, counted by valgrind.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools,
    workspace::Workspace,
};

const HELP: &str = "\
Counts the instructions of pieces of the hot path with valgrind, and compares the counts with
tests/benches/counted.txt. A piece fails if it takes over 5 % more or fewer. The counts do not
depend on the load of the machine, but on the compiler, which the file names, and a little on the
processor.

Usage: cargo xtask count [OPTIONS]

Options:
      --write    write the counts to the file instead
  -h, --help     print this help

Exit codes: 0 all counts match the file, 1 a count differs or a piece failed, 2 wrong arguments";

/// The file with the counts.
const FILE: &str = "tests/benches/counted.txt";

/// The bench calls the code to count through this function.
const COUNTED: &str = "--toggle-collect=counted";

/// How much a count may differ, in percent.
const SLACK: u64 = 5;

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(writes) = steps::flag(args, HELP, "write")? else { return Ok(()) };
    let workspace = Workspace::find()?;
    if !writes {
        let step = step(&workspace);
        return steps::run(&workspace, vec![step]);
    }
    let counts = count(&workspace)?;
    let path = workspace.root().join(FILE);
    let lines = counts.iter().map(|(name, count)| format!("{count:>7}  {name}\n"));
    let text =
        format!("# Instructions of one time, by {}\n{}", compiler()?, lines.collect::<String>());
    fs::write(&path, text).map_err(Failure::of(&format!("write {FILE}")))
}

/// Returns the step that compares the counts, or says why it cannot run here.
pub(crate) fn step(_workspace: &Workspace) -> Step {
    if tools::output(Command::new("valgrind").arg("--version")).is_none() {
        return Step::skip(
            "count",
            "counts of instructions (install with: apt-get install valgrind)",
        );
    }
    Step::call("count", compare)
}

fn compare(workspace: &Workspace) -> Result<(), Failure> {
    let path = workspace.root().join(FILE);
    let text = fs::read_to_string(&path).map_err(Failure::of(&format!("read {FILE}")))?;
    let known = read(&text);
    let counts = count(workspace)?;
    let mut wrong = Vec::new();
    println!("\n{:>7} {:>7}  piece, in instructions: now and in {FILE}", "now", "file");
    for (name, &count) in &counts {
        let known = known.get(name.as_str()).copied();
        println!(
            "{count:>7} {:>7}  {name}",
            known.map_or("none".into(), |count| count.to_string())
        );
        if !known.is_some_and(|known| is_near(count, known)) {
            wrong.push(format!("{name} takes {count} instructions"));
        }
    }
    if !text.contains(&compiler()?) {
        println!(
            "the file was written with another compiler: {}",
            text.lines().next().unwrap_or("")
        );
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let how = "if this is intended, run: cargo xtask count --write";
    Err(Failure::Failed(format!("{}; {how}", wrong.join("; "))))
}

/// Counts the instructions of one execution of each piece.
fn count(workspace: &Workspace) -> Result<BTreeMap<String, u64>, Failure> {
    let program = build(workspace)?;
    let names = tools::output(&mut Command::new(&program))
        .ok_or_else(|| Failure::Failed("the bench names no pieces".into()))?;
    let mut counts = BTreeMap::new();
    for name in names.lines() {
        println!("counting: {name}");
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        valgrind.args(["--collect-atstart=no", COUNTED]).arg(&program).arg(name);
        let output = valgrind.output().map_err(Failure::of("run valgrind"))?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (said, counted) = (text(&output.stdout), text(&output.stderr));
        let times = number_before(&said, " times");
        let all = counted.lines().find_map(|line| line.split_once("Collected : "));
        let all = all.and_then(|(_, number)| number.trim().parse::<u64>().ok());
        let (Some(times @ 1..), Some(all)) = (times, all) else {
            return Err(Failure::Failed(format!("{name} was not counted:\n{said}{counted}")));
        };
        counts.insert(name.to_owned(), all / times);
    }
    Ok(counts)
}

/// Builds the bench and returns its program.
fn build(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let args = ["bench", "--locked", "--no-run", "--package", "ipc-tests", "--bench", "counted"];
    let mut cargo = workspace.cargo(&args);
    cargo.args(["--message-format", "json"]);
    let built =
        tools::output(&mut cargo).ok_or_else(|| Failure::Failed("no bench was built".into()))?;
    let message = |line| serde_json::from_str::<serde_json::Value>(line).ok();
    built
        .lines()
        .filter_map(message)
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "counted"))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::Failed("cargo names no bench".into()))
}

fn compiler() -> Result<String, Failure> {
    let version = tools::output(Command::new("rustc").arg("--version"));
    let version = version.ok_or_else(|| Failure::Failed("no rustc".into()))?;
    Ok(version.trim().to_owned())
}

/// Reads the file: a count and a name in each line.
fn read(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (count, name) = line.trim_start().split_once("  ")?;
            Some((name, count.parse().ok()?))
        })
        .collect()
}

fn number_before(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_suffix(word)?.parse().ok())
}

fn is_near(count: u64, known: u64) -> bool {
    count.abs_diff(known).saturating_mul(100) <= known.saturating_mul(SLACK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let counts = read("# by rustc 1\n    480  encode\n  58532  32 of them\n");
        assert_eq!(counts, BTreeMap::from([("encode", 480), ("32 of them", 58532)]));
    }

    #[test]
    fn five_hundredths_are_near() {
        assert!(is_near(105, 100) && is_near(95, 100) && is_near(0, 0));
        assert!(!is_near(106, 100) && !is_near(94, 100) && !is_near(1, 0));
    }
}
