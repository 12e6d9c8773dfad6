//! qemu-user in a user namespace, so that programs for another machine can start such programs,
//! too.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::geteuid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::{process, workspace::Workspace};

/// Registers the emulator in `$0`, then runs the command. It first waits for the end of its input,
/// which means that the ids are mapped. The shell stays as process 1 and reaps orphans.
const INSIDE: &str = r#"read -r _
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc &&
cat "$0" > /proc/sys/fs/binfmt_misc/register && "$@"
exit $?"#;

/// How long creating a namespace may take.
const SOON: Duration = Duration::from_secs(10);

/// An emulator that works here.
pub(super) struct Emulator {
    /// Its registration (binfmt.d(5)).
    registration: PathBuf,
}

impl Emulator {
    /// Finds the emulator of a machine.
    pub(super) fn find(machine: &str) -> Option<Self> {
        let registration = Path::new("/usr/lib/binfmt.d").join(format!("qemu-{machine}.conf"));
        let emulator = Self { registration };
        let mut nothing = emulator.enter(Command::new("unshare"));
        nothing.arg("true").stderr(Stdio::null());
        let mut child = spawn_as_one_thread(&mut nothing).ok()?;
        let ended = process::wait_until(&mut child, Instant::now() + SOON).ok()??;
        ended.success().then_some(emulator)
    }

    /// Returns a command for `spawn` that runs `inner` where the emulator is registered.
    pub(super) fn run(&self, workspace: &Workspace, inner: &Command) -> Command {
        let mut command = self.enter(workspace.command("unshare", &[]));
        command.arg(inner.get_program()).args(inner.get_args());
        command
    }

    fn enter(&self, mut unshare: Command) -> Command {
        unshare.args(["--user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        // Under a filter, ids that are mapped later give no capabilities.
        unshare.arg(if geteuid().is_root() { "--keep-caps" } else { "--map-root-user" });
        unshare.args(["sh", "-c", INSIDE]).arg(&self.registration);
        unshare
    }
}

/// Starts a command. If it creates a user namespace, that gets all ids of this one.
pub(super) fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if command.get_program() == "unshare" && geteuid().is_root() {
        for ids in ["uid_map", "gid_map"] {
            if let Err(error) = keep_ids(ids, child.id()) {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        }
    }
    drop(child.stdin.take());
    Ok(child)
}

/// The same, with a filter that makes the process appear to have one thread. An emulator has a
/// second thread, but can fork nevertheless.
pub(super) fn spawn_as_one_thread(command: &mut Command) -> io::Result<Child> {
    let spawn = || {
        hide_threads().map_err(io::Error::other)?;
        spawn(command)
    };
    // The filter ends with this thread, but the child keeps it.
    let spawned = thread::scope(|scope| scope.spawn(spawn).join());
    spawned.unwrap_or_else(|_| Err(io::Error::other("the thread that starts it panicked")))
}

/// Makes `unshare(CLONE_VM)` do nothing, since it fails if there is a second thread.
fn hide_threads() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let flags = u64::from(libc::CLONE_VM.unsigned_abs());
    let is_asked = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, flags)?;
    let rules = [(libc::SYS_unshare, vec![SeccompRule::new(vec![is_asked])?])].into();
    let (others, asked) = (SeccompAction::Allow, SeccompAction::Errno(0));
    let machine = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, others, asked, machine)?;
    Ok(seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?)
}

/// Maps all ids of this user namespace, unchanged, into a process's new one.
fn keep_ids(ids: &str, process: u32) -> io::Result<()> {
    let map: String = fs::read_to_string(format!("/proc/self/{ids}"))?
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace();
            let (inside, count) = (numbers.next()?, numbers.nth(1)?);
            Some(format!("{inside} {inside} {count}\n"))
        })
        .collect();
    let limit = Instant::now() + SOON;
    loop {
        match fs::write(format!("/proc/{process}/{ids}"), &map) {
            // It is still in this namespace, which has the ids.
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && Instant::now() < limit =>
            {
                thread::sleep(Duration::from_millis(1));
            }
            written => return written,
        }
    }
}
