//! strace on one process of the daemon, to observe its system calls or to make one fail.

use std::process::{Child, Command, Stdio};

use ipc_tests::cases::skip;
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{Home, eventually, read};

/// An attached strace; dropping it detaches.
pub(crate) struct Tracer(Child);

impl Tracer {
    /// Skips the case at its start if strace cannot attach.
    pub(crate) fn require() {
        let home = Home::new();
        let mut sleep = Command::new("sleep").arg("60").spawn().unwrap();
        let tracer = Self::try_attach(&home, Pid::from_child(&sleep), &[]);
        let said = String::from_utf8(read(&home.path("strace.said"))).unwrap();
        let is_possible = tracer.is_some();
        drop(tracer);
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        if !is_possible {
            drop(home);
            print!("{said}");
            skip("strace is missing or may not attach", "apt install strace, and run as root");
        }
    }

    pub(crate) fn attach(home: &Home, process: Pid, expressions: &[&str]) -> Self {
        Self::try_attach(home, process, expressions).unwrap()
    }

    /// Attaches to a process and to all that it will start. Skips the case if strace does not
    /// support the expressions.
    pub(crate) fn attach_all(home: &Home, process: Pid, expressions: &[&str]) -> Self {
        Self::try_attach_with(home, process, &["-f"], expressions).unwrap_or_else(|| {
            skip("strace cannot make such calls fail", "apt install strace, 5.11 or later")
        })
    }

    fn try_attach(home: &Home, process: Pid, expressions: &[&str]) -> Option<Self> {
        Self::try_attach_with(home, process, &[], expressions)
    }

    fn try_attach_with(
        home: &Home,
        process: Pid,
        options: &[&str],
        expressions: &[&str],
    ) -> Option<Self> {
        let said = home.path("strace.said");
        let mut command = Command::new("strace");
        command.args(options);
        command.arg("-o").arg(home.path("strace"));
        command.args(expressions.iter().flat_map(|expression| ["-e", *expression]));
        command.arg("-p").arg(process.as_raw_nonzero().to_string());
        command.stdin(Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
        let mut tracer = Self(command.spawn().ok()?);
        let is_attached = eventually("strace to attach or to fail", || {
            let has_ended = tracer.0.try_wait().unwrap().is_some();
            let is_attached = String::from_utf8_lossy(&read(&said)).contains("attached");
            (has_ended || is_attached).then_some(!has_ended)
        });
        is_attached.then_some(tracer)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            _ = kill_process(Pid::from_child(&self.0), Signal::INT);
            _ = self.0.wait();
        }
    }
}
