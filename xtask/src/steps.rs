//! Steps that run one after the other, each timed, and the table of how they ended.

use std::{
    fmt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use lexopt::Arg::{Long, Short};

use crate::{failure::Failure, workspace::Workspace};

/// One thing to check.
pub(crate) struct Step {
    name: &'static str,
    work: Work,
}

/// A step's function. It may write a remark for the table to the string.
type Call = dyn FnOnce(&Workspace, &mut String) -> Result<(), Failure>;

enum Work {
    Command(Command),
    Call(Box<Call>),
    Skip(String),
}

impl Step {
    /// A step that passes when the command exits with 0.
    pub(crate) fn command(name: &'static str, command: Command) -> Self {
        Self { name, work: Work::Command(command) }
    }

    /// A step that passes when the function does.
    pub(crate) fn call(
        name: &'static str,
        function: impl FnOnce(&Workspace) -> Result<(), Failure> + 'static,
    ) -> Self {
        Self::call_that_remarks(name, move |workspace, _| function(workspace))
    }

    /// The same for a function that writes a remark for the table.
    pub(crate) fn call_that_remarks(
        name: &'static str,
        function: impl FnOnce(&Workspace, &mut String) -> Result<(), Failure> + 'static,
    ) -> Self {
        Self { name, work: Work::Call(Box::new(function)) }
    }

    /// A step that cannot run here; `why` says what it checks and how to make it run.
    pub(crate) fn skip(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, work: Work::Skip(why.into()) }
    }
}

/// Runs a verb that consists of steps and has only the option `--help`.
pub(crate) fn verb(
    args: lexopt::Parser,
    help: &str,
    plan: impl FnOnce(&Workspace) -> Vec<Step>,
) -> Result<(), Failure> {
    if only_help(args, help)? {
        return Ok(());
    }
    let workspace = Workspace::find()?;
    run(&workspace, plan(&workspace))
}

/// Reads the command line of a verb whose only option is `--help`, and prints the help if asked.
pub(crate) fn only_help(mut args: lexopt::Parser, help: &str) -> Result<bool, Failure> {
    match args.next()? {
        Some(Long("help") | Short('h')) => {
            println!("{help}");
            Ok(true)
        }
        Some(other) => Err(other.unexpected().into()),
        None => Ok(false),
    }
}

/// Reads the command line of a verb with one more option, which takes no value. Returns whether it
/// is there, or `None` after it printed the help.
pub(crate) fn flag(
    mut args: lexopt::Parser,
    help: &str,
    name: &str,
) -> Result<Option<bool>, Failure> {
    let mut is_set = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("help") | Short('h') => {
                println!("{help}");
                return Ok(None);
            }
            Long(it) if it == name => is_set = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(is_set))
}

/// Runs every step, even after a failure, and prints the table.
pub(crate) fn run(workspace: &Workspace, steps: Vec<Step>) -> Result<(), Failure> {
    let rows: Vec<Row> = steps.into_iter().map(|step| Row::of(workspace, step)).collect();
    println!("\n{:28} {:8} {:>7}", "step", "result", "seconds");
    for row in &rows {
        let (ended, seconds) = (row.ended.to_string(), row.time.as_secs_f64());
        let line = format!("{:28} {ended:8} {seconds:>7.1}  {}", row.name, row.remark);
        println!("{}", line.trim_end());
    }
    for row in &rows {
        if let Ended::Skipped(why) = &row.ended {
            println!("skipped: {why}");
        }
    }
    match rows.iter().filter(|row| row.ended == Ended::Failed).count() {
        0 => Ok(()),
        1 => Err(Failure::Failed("one step failed; its output is above".into())),
        count => Err(Failure::Failed(format!("{count} steps failed; their output is above"))),
    }
}

/// Prints a command and runs it, without redirecting its output.
pub(crate) fn run_command(command: &mut Command) -> Result<(), Failure> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().map_err(Failure::of(&format!("run `{shown}`")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!("`{shown}` ended with {status}")))
    }
}

struct Row {
    name: &'static str,
    ended: Ended,
    time: Duration,
    remark: String,
}

impl Row {
    fn of(workspace: &Workspace, step: Step) -> Self {
        println!("\n== {}", step.name);
        let start = Instant::now();
        let mut remark = String::new();
        let ended = match step.work {
            Work::Command(mut command) => Ended::of(run_command(&mut command)),
            Work::Call(function) => Ended::of(function(workspace, &mut remark)),
            Work::Skip(why) => {
                println!("skipped: {why}");
                Ended::Skipped(why)
            }
        };
        let time = start.elapsed();
        println!("== {}: {ended} in {:.1} s", step.name, time.as_secs_f64());
        Self { name: step.name, ended, time, remark }
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
    Skipped(String),
}

impl Ended {
    fn of(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(failure) => {
                eprintln!("{failure}");
                Self::Failed
            }
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// Returns the command as it would be typed in the root.
pub(crate) fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut words: Vec<String> = variables
        .map(|(name, value)| format!("{}='{}'", name.display(), value.display()))
        .collect();
    let program = Path::new(command.get_program());
    words.push(program.file_name().unwrap_or(program.as_os_str()).display().to_string());
    words.extend(command.get_args().map(|arg| {
        let arg = arg.display().to_string();
        if arg.contains(' ') { format!("'{arg}'") } else { arg }
    }));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_is_shown_as_one_would_type_it() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["doc", "--no-deps", "two words"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(shown(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'two words'");
    }

    #[test]
    fn command_that_fails_is_a_failure() {
        assert!(run_command(&mut Command::new("true")).is_ok());
        assert!(run_command(&mut Command::new("false")).is_err());
    }
}
