//! The memory of a running log daemon, as the kernel counts it.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{failure::Failure, process};

/// How many messages it gets.
const MESSAGES: u32 = 10_000;
/// How long each step may take.
const TIME: Duration = Duration::from_secs(60);

/// KiB of a process (proc_pid_smaps(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Resident memory, including memory shared with other processes (RSS).
    pub(super) resident: u64,
    /// The same, with shared memory divided by the number of processes that share it (PSS).
    pub(super) share: u64,
    /// Memory that no other process maps, and that its exit frees.
    pub(super) private: u64,
}

/// The processes of a daemon. Without a worker, `worker` is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resident {
    pub(super) main: Memory,
    pub(super) worker: Memory,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Result<Self, Failure> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(Failure::of(&format!("read {path}")))?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.ok_or_else(|| Failure::Failed(format!("{path} has no {name}")))
        };
        Ok(Self {
            resident: number("Rss:")?,
            share: number("Pss:")?,
            private: number("Private_Clean:")? + number("Private_Dirty:")?,
        })
    }

    pub(super) fn json(self) -> Value {
        let Self { resident, share, private } = self;
        json!({ "resident": resident, "share": share, "private": private })
    }
}

/// Starts a daemon with our options, sends it messages, and measures both processes once all
/// messages are written.
pub(super) fn of_daemon(program: &Path) -> Result<Resident, Failure> {
    let home = tempfile::tempdir().map_err(Failure::of("make a folder"))?;
    let [socket, dir] = [home.path().join("socket"), home.path().join("logs")];
    fs::create_dir(&dir).map_err(Failure::of("make a folder"))?;
    let child = Command::new(program)
        .arg("--socket")
        .arg(&socket)
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Failure::of(&format!("start {}", program.display())))?;
    let mut daemon = Daemon(child);
    send(&socket)?;
    await_lines(&dir.join("log"))?;
    let main = daemon.0.id();
    let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
    let children = children.map_err(Failure::of("find the worker"))?;
    let worker = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    let worker = worker.ok_or_else(|| Failure::Failed("there is no worker".into()))?;
    let resident = Resident { main: Memory::of(main)?, worker: Memory::of(worker)? };
    daemon.stop()?;
    Ok(resident)
}

/// Sends the messages, and waits if there is no room.
pub(super) fn send(socket: &Path) -> Result<(), Failure> {
    let client = UnixDatagram::unbound().map_err(Failure::of("make a socket"))?;
    until("its socket exists", || client.connect(socket).is_ok())?;
    client.set_write_timeout(Some(TIME)).map_err(Failure::of("make a socket"))?;
    for number in 0..MESSAGES {
        let message = format!("<30>Jan  1 00:00:00 app[77]: message {number:06}, of {:-<50}", "");
        client.send(message.as_bytes()).map_err(Failure::of("send a message"))?;
    }
    Ok(())
}

/// Waits until all messages are in the log.
pub(super) fn await_lines(log: &Path) -> Result<(), Failure> {
    let last = format!("message {:06},", MESSAGES - 1);
    until("everything is written", || {
        fs::read_to_string(log).is_ok_and(|text| text.contains(&last))
    })
}

/// Waits until something holds.
pub(super) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failure> {
    let deadline = Instant::now() + TIME;
    while !holds() {
        if Instant::now() > deadline {
            return Err(Failure::Failed(format!("gave up waiting until {what}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// A daemon. Dropping it kills it.
pub(super) struct Daemon(pub(super) Child);

impl Daemon {
    /// Stops it and checks that it exits with 0.
    fn stop(&mut self) -> Result<(), Failure> {
        // Ignore the error: if it has already ended, its status is checked below.
        _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let ended = process::wait_until(&mut self.0, Instant::now() + TIME);
        match ended.map_err(Failure::of("wait for the daemon"))? {
            Some(status) if status.success() => Ok(()),
            ended => Err(Failure::Failed(format!("the daemon ended with {ended:?}"))),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_of_its_own() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.private > 0 && memory.resident > memory.private, "{memory:?}");
        assert!(memory.share <= memory.resident, "{memory:?}");
        assert!(Memory::of(u32::MAX).is_err());
    }
}
