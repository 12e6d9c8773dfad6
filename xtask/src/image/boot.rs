//! Boots the image in a machine, watches it, and never leaves it running.

use std::{
    io::{self, BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::verdict::{self, BOOTED};
use crate::{failure::Failure, process, steps};

/// The limit for boot and test. The test also has its own limit (`init.sh`).
const TIME: Duration = Duration::from_secs(180);

/// Runs the machine until it ends, shows its console, and reports the result of its test.
pub(crate) fn boot(mut qemu: Command) -> Result<(), Failure> {
    println!("$ {}", steps::shown(&qemu));
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    let start = Instant::now();
    let mut machine = Machine(qemu.spawn().map_err(Failure::of("start qemu"))?);
    let (lines, booted) = machine.watch(start)?;
    let ended = start.elapsed();
    let status = machine.wait(start + TIME)?;
    if !status.success() {
        return Err(Failure::Failed(format!("qemu ended with {status}")));
    }
    verdict::read(&lines).map_err(|why| Failure::Failed(format!("self-test failed: {why}")))?;
    println!(
        "image: self-test passed; init ran after {:.1} s, and the machine ended after {:.1} s",
        booted.unwrap_or(ended).as_secs_f64(),
        ended.as_secs_f64()
    );
    Ok(())
}

/// A running qemu. Dropping it kills it.
struct Machine(Child);

impl Machine {
    /// Shows the console until it is closed. Returns its lines, and when init ran.
    fn watch(&mut self, start: Instant) -> Result<(Vec<String>, Option<Duration>), Failure> {
        let console = self.0.stdout.take().map(listen);
        let (mut lines, mut booted) = (Vec::new(), None);
        while let Some(console) = &console {
            match console.recv_timeout(TIME.saturating_sub(start.elapsed())) {
                Ok(line) => {
                    println!("| {line}");
                    if line == BOOTED {
                        booted = Some(start.elapsed());
                    }
                    lines.push(line);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(still_runs()),
            }
        }
        Ok((lines, booted))
    }

    fn wait(&mut self, deadline: Instant) -> Result<ExitStatus, Failure> {
        let ended = process::wait_until(&mut self.0, deadline);
        ended.map_err(Failure::of("wait for qemu"))?.ok_or_else(still_runs)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Ignore the error if it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn still_runs() -> Failure {
    Failure::Failed(format!("the machine still ran after {} s", TIME.as_secs()))
}

/// Passes on the lines of the console.
fn listen(console: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(io::Result::ok) {
            if sender.send(printable(&line)).is_err() {
                return;
            }
        }
    });
    lines
}

/// Removes terminal control sequences.
fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().filter(|char| !char.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn machine_whose_test_passes_passes() {
        boot(shell("printf 'self-test: init runs\\r\\nself-test: passed\\r\\n'")).unwrap();
    }

    #[test]
    fn machine_that_ends_without_a_verdict_or_with_an_error_fails() {
        for script in ["echo self-test: init runs", "echo self-test: passed; exit 1"] {
            assert!(boot(shell(script)).is_err(), "{script}");
        }
        let why = boot(shell("echo self-test: failed: x")).unwrap_err().to_string();
        assert_eq!(why, "self-test failed: x");
    }

    #[test]
    fn console_has_no_control_characters() {
        assert_eq!(printable(b"\x1b[2Jself-test: passed\r"), "[2Jself-test: passed");
    }
}
