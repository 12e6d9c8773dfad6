//! A started program, which reports on its standard output.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;

use ipc_barrier::Ended;
use ipc_barrier::process::{Child, Program, Setup, SpawnError};
use ipc_tests::around::proc;
use ipc_tests::fds;
use ipc_tests::forked::soon;
use rustix::pipe::{PipeFlags, pipe_with};

pub(crate) const SH: &CStr = c"/bin/sh";

/// Starts a program, and returns its output and its end.
pub(crate) fn output(
    setup: &Setup<'_>,
    program: Program<'_>,
    args: &[&CStr],
) -> Result<(String, Ended), SpawnError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let mut child = setup.clone().fd(write.as_fd(), 1).spawn(program, args, soon())?;
    drop(write);
    let mut text = String::new();
    File::from(read).read_to_string(&mut text).unwrap();
    let ended = child.wait_until(soon()).unwrap();
    Ok((text, ended))
}

/// A program that runs until this is dropped, even by a panic.
pub(crate) struct Sleeping(pub(crate) Child);

impl Sleeping {
    pub(crate) fn start(setup: &Setup<'_>) -> Self {
        Self(setup.spawn(c"/bin/sleep", &[c"sleep", c"600"], soon()).unwrap())
    }

    /// Returns what /proc shows after this name in its status.
    pub(crate) fn status(&self, name: &str) -> String {
        let status = fs::read_to_string(proc(&format!("{}/status", self.0.pid()))).unwrap();
        let (_, rest) = status.split_once(&format!("{name}:\t")).unwrap();
        rest.lines().next().unwrap().trim().to_owned()
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        _ = self.0.kill();
        self.0.wait_until(soon());
    }
}

/// Runs a script, which must succeed, and returns its output.
pub(crate) fn script(setup: &Setup<'_>, text: &str) -> String {
    let text = CString::new(text).unwrap();
    let (text, ended) = output(setup, Program::Path(SH), &[c"sh", c"-c", &text]).unwrap();
    assert_eq!(ended, Ended::Exited(0), "{text}");
    text
}

/// Checks that the start fails and leaves nothing behind. Returns the error.
pub(crate) fn refused(setup: &Setup<'_>, program: Program<'_>, args: &[&CStr]) -> SpawnError {
    let (open, children) = (fds::open(), fds::children().len());
    let error = setup.spawn(program, args, soon()).unwrap_err();
    assert_eq!(fds::open(), open, "{error}");
    assert_eq!(fds::children().len(), children, "{error}");
    error
}

/// Returns the reason of a failed start, as displayed.
pub(crate) fn reason(setup: &Setup<'_>, program: Program<'_>) -> String {
    match refused(setup, program, &[program.name()]) {
        SpawnError::Failed(reason) => reason.to_string(),
        other => panic!("{other}"),
    }
}
