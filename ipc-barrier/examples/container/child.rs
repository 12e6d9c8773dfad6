//! The child: new namespaces, set-up, and the exec of the program.

#![expect(unsafe_code, reason = "rustix marks unshare as unsafe, for a flag not used here")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use ipc_barrier::process::{Setup, Signal, reset_signals};
use ipc_barrier::{ChildSide, Errno, ExecError};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::setsid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, unshare_unsafe,
};

use crate::options::Options;
use crate::side::{EXEC, FAILED, FORK, Failure, NAMESPACES, SET_UP, Side, Trouble, UID_MAP, Voice};

/// What a failure says if the program cannot be executed.
pub(crate) const EXECUTE: &str = "exec of the program";

/// Which new namespaces the child got.
#[derive(Clone, Copy, Debug)]
struct Own {
    hostname: bool,
    mounts: bool,
}

/// Goes through the stages and executes the program. Returns the exit status if that fails.
pub(crate) fn run(mut side: Side<'_, ChildSide>) -> u8 {
    let failure = match prepare(&mut side) {
        Ok(()) => execute(&mut side),
        Err(failure) => failure,
    };
    side.voice.say(format_args!("{failure}"));
    FAILED
}

fn prepare(side: &mut Side<'_, ChildSide>) -> Result<(), Failure> {
    let options = side.options;
    // The parent has handlers. SIGPIPE is ignored because standard error may be closed.
    side.stage(FORK, |_| {
        reset_signals(&[Signal::PIPE.as_raw()])
            .map_err(|error| Trouble::at(error.call)(error.errno))
    })?;
    let own = side.stage(NAMESPACES, enter)?;
    side.stage(UID_MAP, |_| Ok(()))?;
    side.stage(SET_UP, |voice| set_up(voice, options, own))
}

/// Leaves the parent's session and namespaces. The user namespace comes first: it permits the
/// others.
fn enter(voice: &Voice) -> Result<Own, Trouble> {
    setsid().map_err(Trouble::at("setsid"))?;
    let unshare = |what, flag| {
        // SAFETY: unshare is unsafe only with CLONE_FILES, which is not set.
        voice.permitted(what, unsafe { unshare_unsafe(flag) })
    };
    unshare("unshare of the users", UnshareFlags::NEWUSER)?;
    Ok(Own {
        hostname: unshare("unshare of the host name", UnshareFlags::NEWUTS)?,
        mounts: unshare("unshare of the mounts", UnshareFlags::NEWNS)?,
    })
}

/// Sets up what the child has alone, and drops privileges.
fn set_up(voice: &Voice, options: &Options, own: Own) -> Result<(), Trouble> {
    if own.hostname {
        let set = rustix::system::sethostname(options.hostname.as_bytes());
        set.map_err(Trouble::at("host name"))?;
    }
    if own.mounts {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        voice.permitted("private mounts", mount_change("/", private))?;
    }
    let dir = CString::new(options.dir.as_os_str().as_bytes());
    let dir = dir.map_err(|_| Trouble { what: "working directory", errno: Errno(0) })?;
    // Until now the barrier has shown the parent's death. The program may not know the barrier, so
    // it gets a signal instead. With no_new_privs, not even root gains capabilities at exec.
    let setup = Setup::new().directory(&dir).no_new_privs().parent_death(Signal::KILL);
    setup.apply().map_err(|reason| match reason.stage.as_str() {
        "directory" => Trouble { what: "working directory", errno: reason.errno },
        "no_new_privs" => Trouble { what: "no new privileges", errno: reason.errno },
        _ => Trouble { what: "death signal", errno: reason.errno },
    })?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(Trouble::at("capabilities"))
}

/// Executes the program. Returns only on failure.
fn execute(side: &mut Side<'_, ChildSide>) -> Failure {
    let trouble = match side.options.command.split_first() {
        // This program does not know the barrier, so the end closes at exec.
        Some((program, arguments)) => match side.misbehave(EXEC) {
            Ok(()) => Trouble::at(EXECUTE)(Command::new(program).args(arguments).exec()),
            Err(trouble) => trouble,
        },
        None => execute_self(side),
    };
    side.fail(EXEC, trouble)
}

/// Executes this program again, and hands over the end.
fn execute_self(side: &mut Side<'_, ChildSide>) -> Trouble {
    let exported = match side.end.export() {
        Ok(exported) => exported,
        Err(ExecError::System(error)) => return Trouble::at("export")(error.errno),
        Err(_) => return Trouble { what: "export", errno: Errno(0) },
    };
    let mut command = Command::new("/proc/self/exe");
    command.args(["--inside", &exported.to_string()]);
    command.args(["--since", &side.voice.start.as_nanoseconds().to_string()]);
    command.args(["--deadline", &side.options.limit.as_millis().to_string()]);
    if let Some(plan) = side.options.plan.filter(|plan| !plan.parent) {
        command.args([plan.misdeed.option(), &plan.stage.to_string()]);
    }
    // If this fails, `exported` is dropped and the end still works.
    Trouble::at(EXECUTE)(command.exec())
}
