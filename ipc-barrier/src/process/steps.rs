//! The steps of a set-up, in order.

#![expect(unsafe_code, reason = "system calls that rustix lacks, or offers only with a heap")]

use heapless::Vec;
use rustix::fd::{AsRawFd, RawFd};
use rustix::io::Errno;
use rustix::process::{
    Gid, Pid, Rlimit, Uid, chdir, chroot, getegid, geteuid, getgid, getppid, getuid,
    set_parent_process_death_signal, setpgid, setrlimit, setsid,
};
use rustix::thread::{
    set_name, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use syscalls::{Sysno, syscall};

use super::reason::{Reason, failed};
use super::setup::{Instruction, Setup, Steps, TOO_LONG};

/// Most supplementary groups.
const GROUPS: usize = 64;

/// The call that returns group ids of 32 bits.
#[cfg(any(target_arch = "arm", target_arch = "sparc", target_arch = "x86"))]
const GETGROUPS: Sysno = Sysno::getgroups32;
#[cfg(not(any(target_arch = "arm", target_arch = "sparc", target_arch = "x86")))]
const GETGROUPS: Sysno = Sysno::getgroups;

impl Setup<'_> {
    /// Applies the steps from `session` to `filter` to this process. Signals, streams and
    /// descriptors stay unchanged.
    ///
    /// Call it while the process has one thread, for example right after exec. Ids, the death
    /// signal, landlock and the filter apply only to the calling thread, and to threads that it
    /// starts later.
    ///
    /// # Errors
    /// The stage that failed, and why. Earlier steps are not undone, so the process should exit.
    pub fn apply(&self) -> Result<(), Reason> {
        self.check()?;
        let Some(steps) = &self.steps else { return Ok(()) };
        steps.take(getppid(), steps.landlock.map(|ruleset| ruleset.as_raw_fd()))
    }
}

impl Steps<'_> {
    /// Takes all steps. The step "parent death" fails if `parent` is gone. The ruleset is passed
    /// separately because its descriptor may have another number by now.
    pub(super) fn take(&self, parent: Option<Pid>, ruleset: Option<RawFd>) -> Result<(), Reason> {
        if self.session {
            setsid().map_err(failed("session", b"setsid"))?;
        } else if self.group {
            setpgid(None, None).map_err(failed("session", b"setpgid"))?;
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
        if let Some((uid, gid, groups)) = self.ids {
            let (uid, gid) = (Uid::from_raw_unchecked(uid), Gid::from_raw_unchecked(gid));
            take_ids(uid, gid, groups)?;
        }
        if self.no_new_privs {
            set_no_new_privs(true).map_err(failed("no_new_privs", b"prctl"))?;
        }
        if let Some(signal) = self.parent_death {
            let set = set_parent_process_death_signal(Some(signal));
            set.map_err(failed("parent death", b"prctl"))?;
            // A parent outside this process's pid namespace has no pid here.
            if getppid().is_some_and(|now| Some(now) != parent) {
                return Err(failed("parent death", b"getppid")(Errno::SRCH));
            }
        }
        if let Some(ruleset) = ruleset {
            // SAFETY: the call touches no memory.
            unsafe { syscall!(Sysno::landlock_restrict_self, ruleset, 0) }
                .map_err(syscalls::Errno::into_raw)
                .map_err(failed("landlock", b"landlock_restrict_self"))?;
        }
        self.filter.map_or(Ok(()), install)
    }
}

/// Sets the ids of this thread, and checks the result: a sandbox may report success without making
/// the call. The same calls set the saved ids, which are not checked.
fn take_ids(uid: Uid, gid: Gid, groups: &[u32]) -> Result<(), Reason> {
    if groups.len() > GROUPS {
        return Err(failed("ids", b"more than 64 groups")(TOO_LONG));
    }
    let asked: Vec<_, GROUPS> = groups.iter().copied().map(Gid::from_raw_unchecked).collect();
    set_thread_groups(&asked).map_err(failed("ids", b"setgroups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(failed("ids", b"setresgid"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("ids", b"setresuid"))?;
    let mut found = [0_u32; GROUPS];
    // SAFETY: the kernel writes at most `GROUPS` ids.
    let count = unsafe { syscall!(GETGROUPS, GROUPS, found.as_mut_ptr()) };
    let found = count.ok().and_then(|count| found.get(..count)).unwrap_or(&[u32::MAX]);
    let has_groups = found.len() == groups.len() && groups.iter().all(|id| found.contains(id));
    for (call, is_as_asked) in [
        ("setgroups", has_groups),
        ("setresgid", (getgid(), getegid()) == (gid, gid)),
        ("setresuid", (getuid(), geteuid()) == (uid, uid)),
    ] {
        if !is_as_asked {
            return Err(failed("ids", call.as_bytes())(Errno::PERM));
        }
    }
    Ok(())
}

/// Installs a system call filter (seccomp(2)).
fn install(filter: &[Instruction]) -> Result<(), Reason> {
    const SET_MODE_FILTER: usize = 1;
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program(u16, *const Instruction);
    // The kernel refuses this length too (EINVAL).
    let program = Program(u16::try_from(filter.len()).unwrap_or(u16::MAX), filter.as_ptr());
    // SAFETY: the kernel reads the structure and the instructions that it describes.
    unsafe { syscall!(Sysno::seccomp, SET_MODE_FILTER, 0, &raw const program) }
        .map_err(syscalls::Errno::into_raw)
        .map_err(failed("filter", b"seccomp"))
        .map(|_| ())
}
