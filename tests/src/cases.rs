//! Runs each case in its own single-threaded process, and prints results as the test harness does.
//!
//! A test that forks must not run beside other threads, and one that counts descriptors or
//! children must not see those of another case. What the caller left open is closed first, so that
//! a case that limits descriptors finds the same free numbers everywhere.

#![expect(unsafe_code, reason = "a process for each case needs fork and process groups")]

use std::fs::File;
use std::io::{self, Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::stdio::{dup2_stderr, dup2_stdout};

use crate::{around, deep};

/// The longest time that a case may take; a hang is a failure.
fn longest() -> Duration {
    Duration::from_secs(if deep::is_asked_for() { 3_600 } else { 120 })
}

const PASSED: i32 = 0;
const FAILED: i32 = 1;
const SKIPPED: i32 = 77;

/// The name of a case that only enters the surroundings.
const NONE: &str = "entering";

/// A case: its name and its function.
#[derive(Debug)]
pub struct Case {
    /// The fact that it shows.
    pub name: &'static str,
    /// Panics if the fact does not hold.
    pub run: fn(),
}

/// Lists functions as cases under their own names. Generic functions become one case per type,
/// under the names given to the types: `name: Type, other: OtherType => { case, … }`. The function
/// that runs them is `main`, or the name before an equals sign. Cases that mostly wait run several
/// `at once`.
#[macro_export]
macro_rules! cases {
    ($($($name:ident: $type:ty),+ => $list:tt)+) => {
        $crate::cases! { main = $($($name: $type),+ => $list)+ }
    };
    ($main:ident = $($($name:ident: $type:ty),+ => $list:tt)+) => {
        $crate::cases! { $main, 1 at once = $($($name: $type),+ => $list)+ }
    };
    ($main:ident, $at_once:literal at once = $($($name:ident: $type:ty),+ => $list:tt)+) => {
        fn $main() -> std::process::ExitCode {
            let mut all = Vec::new();
            $($($crate::cases!(@add all, $name: $type, $list);)+)+
            $crate::cases::run(&all, $at_once)
        }
    };
    (@add $all:ident, $name:ident: $type:ty, { $($case:ident),* $(,)? }) => {
        $all.extend([$($crate::cases::Case {
            name: concat!(stringify!($name), "::", stringify!($case)),
            run: $case::<$type>,
        }),*]);
    };
    ($($case:ident),* $(,)?) => {
        $crate::cases! { main = $($case),* }
    };
    ($main:ident = $($case:ident),* $(,)?) => {
        $crate::cases! { $main, 1 at once = $($case),* }
    };
    ($main:ident, $at_once:literal at once = $($case:ident),* $(,)?) => {
        fn $main() -> std::process::ExitCode {
            let all = [$($crate::cases::Case { name: stringify!($case), run: $case }),*];
            $crate::cases::run(&all, $at_once)
        }
    };
}

/// Skips a case that needs something this machine lacks, and prints how to install it.
pub fn skip(what: &str, install: &str) -> ! {
    println!("skipped: {what} (install with: {install})");
    leave(SKIPPED)
}

/// Skips a case about a feature that the program under test does not have.
pub fn leave_out(why: &str) -> ! {
    // The case may have limited file sizes, which applies to our output too.
    let limit = getrlimit(Resource::Fsize);
    _ = setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, ..limit });
    println!("left out here, since {why}");
    leave(SKIPPED)
}

/// Runs the cases whose names contain one of the arguments, or all without arguments; `at_once` of
/// them at a time. If that is more than one, a case's output is shown once the case has ended.
pub fn run(cases: &[Case], at_once: usize) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    if arguments.iter().any(|word| word == "--list") {
        for case in cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    // SAFETY: until now no value of this program owns a descriptor.
    unsafe { ipc_barrier::process::close_all_but(&[]) }.unwrap_or_else(|error| panic!("{error}"));
    let is_chosen = |case: &&Case| {
        filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter.as_str()))
    };
    let mut chosen: Vec<&Case> = cases.iter().filter(is_chosen).collect();
    let filtered = cases.len() - chosen.len();
    println!("\nrunning {} tests", chosen.len());
    let start = Instant::now();
    let (mut passed, mut skipped, mut failures) = (0, 0, Vec::new());
    // Report only once that the surroundings are not available.
    if around::is_asked_for()
        && Running::start(&Case { name: NONE, run: || {} }, false).wait() == Some(SKIPPED)
    {
        skipped = chosen.len();
        chosen.clear();
    }
    // In other surroundings cases run one at a time, so that a failure stands alone.
    let at_once = if around::is_asked_for() { 1 } else { at_once };
    let mut next = chosen.iter();
    let mut running: Vec<Running<'_>> = Vec::new();
    loop {
        while running.len() < at_once {
            let Some(case) = next.next() else { break };
            running.push(Running::start(case, at_once > 1));
        }
        if running.is_empty() {
            break;
        }
        let Some((at, status)) =
            running.iter().enumerate().find_map(|(at, it)| Some((at, it.status()?)))
        else {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        let ended = running.remove(at);
        ended.show();
        let verdict = match status {
            Some(PASSED) => {
                passed += 1;
                "ok"
            }
            Some(SKIPPED) => {
                skipped += 1;
                "ignored"
            }
            Some(_) => {
                failures.push(ended.name);
                "FAILED"
            }
            None => {
                failures.push(ended.name);
                "FAILED (timed out)"
            }
        };
        println!("test {} ... {verdict}", ended.name);
    }
    if !failures.is_empty() {
        println!("\nfailures:\n    {}", failures.join("\n    "));
    }
    println!(
        "\ntest result: {}. {passed} passed; {} failed; {skipped} ignored; 0 measured; {} filtered \
         out; finished in {:.2}s\n",
        if failures.is_empty() { "ok" } else { "FAILED" },
        failures.len(),
        filtered,
        start.elapsed().as_secs_f64()
    );
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A case that runs in a child.
struct Running<'a> {
    name: &'a str,
    child: i32,
    start: Instant,
    /// Its output, unless that goes directly to ours.
    output: Option<File>,
}

impl<'a> Running<'a> {
    fn start(case: &'a Case, keeps_output: bool) -> Self {
        _ = io::stdout().flush();
        let output = keeps_output.then(|| {
            let made = memfd_create("output", MemfdFlags::CLOEXEC);
            File::from(made.unwrap_or_else(|error| panic!("memfd_create: {error}")))
        });
        // SAFETY: this program has one thread, so the child may call anything.
        let child = match unsafe { libc::fork() } {
            -1 => panic!("fork: {}", io::Error::last_os_error()),
            0 => run_one(case, output.as_ref()),
            child => child,
        };
        Self { name: case.name, child, start: Instant::now(), output }
    }

    /// Returns the case's exit status, the inner `None` if it timed out. Returns `None` while it
    /// runs.
    fn status(&self) -> Option<Option<i32>> {
        let mut status = 0;
        // SAFETY: the kernel writes the status into the variable.
        let waited = unsafe { libc::waitpid(self.child, &raw mut status, libc::WNOHANG) };
        if waited == self.child {
            let exited = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
            kill_group(self.child);
            return Some(Some(exited.unwrap_or(FAILED)));
        }
        if self.start.elapsed() > longest() {
            kill_group(self.child);
            // SAFETY: a null pointer means that the status is not wanted.
            unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) };
            return Some(None);
        }
        None
    }

    fn wait(&self) -> Option<i32> {
        loop {
            match self.status() {
                Some(status) => return status,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Prints the case's output.
    fn show(&self) {
        let Some(mut output) = self.output.as_ref() else { return };
        let copied = output.rewind().and_then(|()| io::copy(&mut output, &mut io::stdout()));
        copied.unwrap_or_else(|error| panic!("cannot copy the output of {}: {error}", self.name));
    }
}

/// Runs a case in this process, which was created for it.
fn run_one(case: &Case, output: Option<&File>) -> ! {
    // SAFETY: no memory is involved. Its own process group lets a hung case be killed whole.
    unsafe { libc::setpgid(0, 0) };
    if let Some(output) = output {
        let both = dup2_stdout(output).and_then(|()| dup2_stderr(output));
        both.unwrap_or_else(|error| panic!("dup2: {error}"));
    }
    // A case killed on purpose must not leave a core dump.
    let none = Rlimit { current: Some(0), ..getrlimit(Resource::Core) };
    _ = setrlimit(Resource::Core, none);
    if let Some(why) = around::leaves_out(case.name).filter(|_| case.name != NONE) {
        println!("left out here: {}, since {why}", case.name);
        leave(SKIPPED);
    }
    around::enter(case.name);
    let result = catch_unwind(AssertUnwindSafe(case.run));
    leave(if result.is_ok() { PASSED } else { FAILED })
}

/// Kills every process that the case left behind.
fn kill_group(group: i32) {
    // SAFETY: no memory is involved; the group is the case's own.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

fn leave(status: i32) -> ! {
    _ = io::stdout().flush();
    ipc_barrier::exit(status)
}
