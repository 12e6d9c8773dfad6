//! The results of a test run's cases, read from its output.

use std::{
    collections::BTreeSet,
    fmt, io,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Instant,
};

use crate::{failure::Failure, process};

/// Counts of cases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    passed: usize,
    failed: usize,
    left_out: usize,
    ignored: usize,
    /// Why some were skipped, and what they need.
    pub(super) skipped: BTreeSet<String>,
}

impl Tally {
    /// Runs a command to its end, shows its output and counts the cases. Kills it at the deadline.
    pub(super) fn run(
        &mut self,
        mut command: Command,
        spawn: fn(&mut Command) -> io::Result<Child>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut child = spawn(command.stdout(Stdio::piped())).map_err(Failure::of("run tests"))?;
        let lines = child.stdout.take().map(lines);
        while let Some(lines) = &lines {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.add(&line),
                Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => break,
            }
        }
        let ended = process::wait_until(&mut child, deadline);
        match ended.map_err(Failure::of("wait for tests"))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Failure::Failed(format!("the tests ended with {status}"))),
            None => {
                child.kill().map_err(Failure::of("kill tests"))?;
                Err(Failure::Failed("the tests were killed: they took too long".into()))
            }
        }
    }

    fn add(&mut self, line: &str) {
        if line.starts_with("left out here: ") {
            self.left_out += 1;
        } else if line.starts_with("skipped: ") {
            self.skipped.insert(line.to_owned());
        } else if let Some(result) = line.strip_prefix("test result: ") {
            for part in result.split("; ") {
                let mut words = part.split(' ').rev();
                let (Some(what), Some(Ok(count))) = (words.next(), words.next().map(str::parse))
                else {
                    continue;
                };
                let count: usize = count;
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, left_out, .. } = self;
        let skipped = self.ignored.saturating_sub(*left_out);
        write!(f, "{passed} passed, {left_out} left out, {skipped} skipped, {failed} failed")
    }
}

/// Shows the lines of an output, and returns each as soon as it arrives.
fn lines(output: ChildStdout) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("{line}");
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
echo 'left out here: a_case, since it cannot be'
echo 'skipped: seccomp filters (install with: a kernel)'
echo 'skipped: seccomp filters (install with: a kernel)'
echo 'test result: FAILED. 12 passed; 1 failed; 3 ignored; 0 measured; 4 filtered out; in 0.1s'
echo 'test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; in 0.1s'
exit $0";

    fn sh(status: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, status]);
        command
    }

    #[test]
    fn cases_are_counted_by_how_they_ended() {
        let mut tally = Tally::default();
        let soon = Instant::now() + std::time::Duration::from_secs(60);
        assert!(tally.run(sh("0"), Command::spawn, soon).is_ok());
        assert_eq!(tally.to_string(), "17 passed, 1 left out, 2 skipped, 1 failed");
        assert_eq!(tally.skipped.len(), 1);
        assert!(tally.run(sh("1"), Command::spawn, soon).is_err());
        assert_eq!(tally.to_string(), "34 passed, 2 left out, 4 skipped, 2 failed");
    }

    #[test]
    fn tests_that_take_too_long_are_killed() {
        let mut sleep = Command::new("sleep");
        sleep.arg("1000");
        let failed = Tally::default().run(sleep, Command::spawn, Instant::now()).unwrap_err();
        assert_eq!(failed.to_string(), "the tests were killed: they took too long");
    }
}
