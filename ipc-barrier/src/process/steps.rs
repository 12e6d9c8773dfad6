//! The steps of a set-up, in their order.

#![expect(unsafe_code, reason = "landlock and seccomp by system calls that rustix lacks")]

use core::ffi::CStr;

use heapless::Vec;
use ipc_transport::Errno;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, chdir, chroot, getppid, set_parent_process_death_signal,
    setpgid, setrlimit, setsid,
};
use rustix::thread::{set_name, set_no_new_privs};
use syscalls::{Sysno, syscall};

use super::ids::Ids;
use super::reason::{Reason, failed};

/// Most resource limits.
pub(super) const LIMITS: usize = 16;

/// The parent is not there (ESRCH).
const GONE: Errno = Errno(3);

/// An instruction of a filter for system calls, as the kernel takes it: `struct sock_filter` of
/// linux/filter.h (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are passed over where a comparison is true.
    pub jt: u8,
    /// How many instructions are passed over where it is false.
    pub jf: u8,
    /// Its operand.
    pub k: u32,
}

/// What a process leads from now on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leads {
    Session,
    Group,
}

/// What is done between the descriptors and the exec.
#[derive(Clone, Debug)]
pub(super) struct Steps<'a> {
    pub(super) leads: Option<Leads>,
    pub(super) name: Option<&'a CStr>,
    pub(super) limits: Vec<(Resource, u64), LIMITS>,
    pub(super) root: Option<&'a CStr>,
    pub(super) directory: Option<&'a CStr>,
    pub(super) ids: Option<Ids<'a>>,
    pub(super) no_new_privs: bool,
    pub(super) parent_death: Option<Signal>,
    pub(super) landlock: Option<BorrowedFd<'a>>,
    pub(super) filter: Option<&'a [Instruction]>,
}

impl Steps<'_> {
    /// No step.
    pub(super) const NONE: Self = Self {
        leads: None,
        name: None,
        limits: Vec::new(),
        root: None,
        directory: None,
        ids: None,
        no_new_privs: false,
        parent_death: None,
        landlock: None,
        filter: None,
    };

    /// Takes all steps; `parent` is whoever must not be gone at that of its death.
    pub(super) fn take(&self, parent: Option<Pid>) -> Result<(), Reason> {
        match self.leads {
            Some(Leads::Session) => setsid().map(|_| ()).map_err(failed("session", b"setsid"))?,
            Some(Leads::Group) => setpgid(None, None).map_err(failed("session", b"setpgid"))?,
            None => {}
        }
        if let Some(name) = self.name {
            set_name(name).map_err(failed("name", b"prctl"))?;
        }
        for &(resource, max) in &self.limits {
            let max = Some(max).filter(|&max| max != u64::MAX);
            let limit = Rlimit { current: max, maximum: max };
            setrlimit(resource, limit).map_err(failed("limits", b"setrlimit"))?;
        }
        if let Some(root) = self.root {
            let entered = chroot(root).and_then(|()| chdir(c"/"));
            entered.map_err(failed("root", root.to_bytes()))?;
        }
        if let Some(directory) = self.directory {
            chdir(directory).map_err(failed("directory", directory.to_bytes()))?;
        }
        self.give_up(parent)
    }

    /// Gives up rights. Each step needs what a later one takes away.
    fn give_up(&self, parent: Option<Pid>) -> Result<(), Reason> {
        if let Some(ids) = self.ids {
            ids.take()?;
        }
        if self.no_new_privs {
            set_no_new_privs(true).map_err(failed("no_new_privs", b"prctl"))?;
        }
        if let Some(signal) = self.parent_death {
            let set = set_parent_process_death_signal(Some(signal));
            set.map_err(failed("parent death", b"prctl"))?;
            // Where it is outside of this process's pid namespace it has no number here.
            if getppid().is_some_and(|now| Some(now) != parent) {
                return Err(failed("parent death", b"getppid")(GONE));
            }
        }
        if let Some(ruleset) = self.landlock {
            // SAFETY: the call touches no memory.
            unsafe { syscall!(Sysno::landlock_restrict_self, ruleset.as_raw_fd(), 0) }
                .map_err(syscalls::Errno::into_raw)
                .map_err(failed("landlock", b"landlock_restrict_self"))?;
        }
        self.filter.map_or(Ok(()), filter)
    }
}

/// Installs a filter for system calls (seccomp(2)).
fn filter(program: &[Instruction]) -> Result<(), Reason> {
    const SET_MODE_FILTER: usize = 1;
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program(u16, *const Instruction);
    // A longer one is refused as this is (EINVAL).
    let len = u16::try_from(program.len()).unwrap_or(u16::MAX);
    let program = Program(len, program.as_ptr());
    // SAFETY: the kernel reads the structure and as many instructions as it says, which are there.
    unsafe { syscall!(Sysno::seccomp, SET_MODE_FILTER, 0, &raw const program) }
        .map_err(syscalls::Errno::into_raw)
        .map_err(failed("filter", b"seccomp"))
        .map(|_| ())
}
