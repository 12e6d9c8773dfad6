//! The `logger` of util-linux, in addition to the demo's clients.

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{load::Sent, message::Message, phase::Phase};
use crate::tools;

/// Printed if it is missing. Busybox's logger can only send to /dev/log.
pub(crate) const MISSING: &str =
    "skipped: logger(1) beside the load (install with: apt-get install bsdutils)";

/// The time from one message to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// Returns whether it is installed.
pub(crate) fn is_installed() -> bool {
    let version = tools::output(Command::new("logger").arg("--version"));
    version.is_some_and(|version| version.contains("util-linux"))
}

/// Starts it, to send each line of its standard input to the socket.
pub(crate) fn start(path: &Path) -> io::Result<Child> {
    let mut command = Command::new("logger");
    command.args(["--tag", Message::TAG, "--socket"]).arg(path);
    command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// Passes it messages until the load ends, and waits until all are sent.
pub(crate) fn run(mut logger: Child, phase: Phase, ended: &AtomicBool) -> io::Result<Sent> {
    let mut sent = Sent::default();
    let mut input = logger.stdin.take();
    let mut number = Message::BY_LOGGER;
    while let Some(pipe) = input.as_mut().filter(|_| !ended.load(Relaxed)) {
        writeln!(pipe, "{}", Message { phase, number }.text())?;
        sent.accepted.push(number);
        number += 1;
        thread::sleep(PAUSE);
    }
    drop(input);
    let status = logger.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("logger: {status}")));
    }
    sent.due = number - Message::BY_LOGGER;
    Ok(sent)
}
