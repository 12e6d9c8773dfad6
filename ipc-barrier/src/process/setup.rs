//! The set-up of a child before its exec, as data.

use core::ffi::CStr;

use heapless::Vec;
use ipc_transport::Errno;
use rustix::fd::{BorrowedFd, RawFd};
use rustix::process::{Resource, Signal};

use super::reason::Reason;
use super::signals::{ALL, Mask, NONE};

/// Most descriptors that a program is given.
pub(super) const FDS: usize = 16;
/// Most resource limits.
const LIMITS: usize = 16;
/// The errno for a list that is too long (E2BIG).
pub(super) const TOO_LONG: Errno = Errno(7);

/// One instruction of a system call filter: the kernel's `struct sock_filter` of linux/filter.h
/// (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// The operation.
    pub code: u16,
    /// How many instructions to skip if a comparison is true.
    pub jt: u8,
    /// How many instructions to skip if a comparison is false.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// The steps between the descriptors and the exec.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps<'a> {
    pub(super) session: bool,
    pub(super) group: bool,
    pub(super) name: Option<&'a CStr>,
    pub(super) limits: Vec<(Resource, u64), LIMITS>,
    pub(super) root: Option<&'a CStr>,
    pub(super) directory: Option<&'a CStr>,
    /// User, group, and supplementary groups.
    pub(super) ids: Option<(u32, u32, &'a [u32])>,
    pub(super) no_new_privs: bool,
    pub(super) parent_death: Option<Signal>,
    pub(super) landlock: Option<BorrowedFd<'a>>,
    pub(super) filter: Option<&'a [Instruction]>,
}

/// The set-up of a process, as data. [`spawn`](Self::spawn) starts another program with it, and
/// [`apply`](Self::apply) applies it to the calling process.
///
/// The steps always run in the order of this table, whatever the order of the calls. If a step
/// fails, the [`Reason`] has its name as the stage:
///
/// | stage | what happens |
/// |---|---|
/// | signals | all get their default action; none is blocked, or all are ([`blocked`](Self::blocked)) |
/// | standard streams | closed ones of 0, 1 and 2 become `/dev/null` |
/// | descriptors | [given](Self::fd) ones get their numbers; exec closes all others |
/// | session | [`session`](Self::session) or [`group`](Self::group) |
/// | name | [`name`](Self::name) |
/// | limits | [`limit`](Self::limit) |
/// | root, directory | [`root`](Self::root), [`directory`](Self::directory) |
/// | ids | [`ids`](Self::ids) |
/// | no_new_privs | [`no_new_privs`](Self::no_new_privs) |
/// | parent death | [`parent_death`](Self::parent_death) |
/// | landlock, filter | [`landlock`](Self::landlock), [`filter`](Self::filter) |
/// | exec | the program |
///
/// ```
/// use core::time::Duration;
/// use ipc_barrier::{Ended, Instant, process::{Resource, Setup}};
///
/// let deadline = Instant::now() + Duration::from_secs(5);
/// let setup = Setup::new().session().limit(Resource::Core, 0).no_new_privs();
/// let mut child = setup.spawn(c"/bin/sh", &[c"sh", c"-c", c"exit 7"], deadline)?;
/// assert_eq!(child.wait(), Ended::Exited(7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before `spawn` or `apply`"]
pub struct Setup<'a> {
    pub(super) env: Option<&'a [&'a CStr]>,
    pub(super) fds: Vec<(BorrowedFd<'a>, RawFd), FDS>,
    pub(super) mask: Mask,
    /// The steps between the descriptors and the exec, if there are any.
    pub(super) steps: Option<Steps<'a>>,
    /// The error for a list that was too long.
    pub(super) too_long: Option<Reason>,
}

impl<'a> Setup<'a> {
    /// Makes a set-up with the steps that are always taken: signals, standard streams, descriptors.
    #[expect(clippy::new_without_default, reason = "an empty set-up is a choice, not a default")]
    pub const fn new() -> Self {
        Self { env: None, fds: Vec::new(), mask: NONE, steps: None, too_long: None }
    }

    /// Sets the program's environment: at most 64 strings of the form `NAME=value`. Without this
    /// call, the program inherits the environment of the C library, which no other thread may
    /// change during the start. Without a C library, the environment is empty.
    pub fn env(self, env: &'a [&'a CStr]) -> Self {
        Self { env: Some(env), ..self }
    }

    /// Gives the program a descriptor under this number (dup2(2)). 0, 1 and 2 are its standard
    /// streams. At most 16 descriptors. If two have the same number, the later one counts.
    pub fn fd(mut self, fd: BorrowedFd<'a>, number: RawFd) -> Self {
        if self.fds.push((fd, number)).is_err() {
            self.too_long = Some(Reason::new("descriptors", TOO_LONG, "more than 16"));
        }
        self
    }

    /// Keeps all signals blocked across the exec, until the program unblocks them (sigprocmask(2)).
    /// So no signal can end the program before it has its own settings. The program must expect it.
    ///
    /// The program must also close or [detach](super::detach_all_but) inherited descriptors: unless
    /// the set-up has a further step, descriptors of this process that lack close-on-exec stay
    /// open.
    pub fn blocked(self) -> Self {
        Self { mask: ALL, ..self }
    }

    /// Makes the process the leader of a new session, without a terminal (setsid(2)).
    pub fn session(self) -> Self {
        self.with(|steps| steps.session = true)
    }

    /// Makes the process the leader of a new process group (setpgid(2)). [`session`](Self::session)
    /// includes this. A terminal's signals reach only one group.
    pub fn group(self) -> Self {
        self.with(|steps| steps.group = true)
    }

    /// Sets the process's name, of which the kernel keeps 15 bytes (PR_SET_NAME of prctl(2)). An
    /// exec replaces it by the name of the program's file, so use this with [`apply`](Self::apply).
    pub fn name(self, name: &'a CStr) -> Self {
        self.with(|steps| steps.name = Some(name))
    }

    /// Sets the soft and hard limit of a resource, in the resource's unit (setrlimit(2)).
    /// `u64::MAX` means no limit. At most 16 limits. If a memory limit is too low for the program,
    /// a signal kills it after a successful exec.
    pub fn limit(mut self, resource: Resource, max: u64) -> Self {
        if self.steps.get_or_insert_default().limits.push((resource, max)).is_err() {
            self.too_long = Some(Reason::new("limits", TOO_LONG, "more than 16"));
        }
        self
    }

    /// Changes the root directory, and makes it the working directory (chroot(2)). The program's
    /// path is then relative to the new root; an [open file](super::Program::Open) is not affected.
    /// Needs CAP_SYS_CHROOT.
    pub fn root(self, directory: &'a CStr) -> Self {
        self.with(|steps| steps.root = Some(directory))
    }

    /// Changes the working directory (chdir(2)). The path is resolved inside the new root, if any.
    pub fn directory(self, directory: &'a CStr) -> Self {
        self.with(|steps| steps.directory = Some(directory))
    }

    /// Sets the real, effective and saved user and group, and the supplementary groups, at most 64
    /// (setgroups(2), setresgid(2), setresuid(2)). The result is checked, because a sandbox may
    /// report success without making a call. Wrong ids fail with `EPERM`.
    pub fn ids(self, uid: u32, gid: u32, groups: &'a [u32]) -> Self {
        self.with(|steps| steps.ids = Some((uid, gid, groups)))
    }

    /// Stops set-user-ID programs and file capabilities from granting privileges (prctl(2)).
    #[doc(alias = "PR_SET_NO_NEW_PRIVS")]
    pub fn no_new_privs(self) -> Self {
        self.with(|steps| steps.no_new_privs = true)
    }

    /// Sends the process this signal when its parent ends (PR_SET_PDEATHSIG of prctl(2)). "Parent"
    /// means the thread that called [`spawn`](Self::spawn), so keep that thread alive. A
    /// set-user-ID program does not get the signal.
    ///
    /// With `spawn`, the program does not start if the parent is already gone (`ESRCH`). With
    /// [`apply`](Self::apply), a parent that died earlier goes unnoticed, and no signal comes. So
    /// compare getppid(2) with the expected pid afterwards.
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn parent_death(self, signal: Signal) -> Self {
        self.with(|steps| steps.parent_death = Some(signal))
    }

    /// Restricts the process by a ruleset (landlock(7), kernel 5.13). The ruleset must permit the
    /// exec of the program. Needs [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN.
    pub fn landlock(self, ruleset: BorrowedFd<'a>) -> Self {
        self.with(|steps| steps.landlock = Some(ruleset))
    }

    /// Installs a system call filter (seccomp(2)) of at most 4096 instructions. The filter must
    /// permit execve, or execveat for an open file. It should also permit write and exit_group, or
    /// a failed exec shows only as the child's death. Needs [`no_new_privs`](Self::no_new_privs) or
    /// CAP_SYS_ADMIN.
    #[doc(alias = "seccomp")]
    pub fn filter(self, program: &'a [Instruction]) -> Self {
        self.with(|steps| steps.filter = Some(program))
    }

    fn with(mut self, set: impl FnOnce(&mut Steps<'a>)) -> Self {
        set(self.steps.get_or_insert_default());
        self
    }

    /// Fails if a list was too long.
    pub(super) fn check(&self) -> Result<(), Reason> {
        self.too_long.map_or(Ok(()), Err)
    }

    /// Returns whether the program is given a descriptor under this number.
    pub(super) fn has_number(&self, number: RawFd) -> bool {
        self.fds.iter().any(|&(_, given)| given == number)
    }
}
