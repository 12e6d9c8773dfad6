//! What a child is given and gives up before it becomes a program, as data.

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
/// What a list is that has too many (E2BIG).
pub(super) const TOO_LONG: Errno = Errno(7);

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

/// What is done between the descriptors and the exec.
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

/// The set-up of a process, as data: [`spawn`](Self::spawn) starts another program with it, and
/// [`apply`](Self::apply) sets up the process that calls it.
///
/// The order of the calls here does not matter, the steps have their own. Each has the name by
/// which a [`Reason`] tells of its failure:
///
/// | stage | what happens |
/// |---|---|
/// | signals | all have their default action, and none is blocked, or all are ([`blocked`](Self::blocked)) |
/// | standard streams | those of 0, 1 and 2 that are closed are `/dev/null` |
/// | descriptors | all others are closed at exec, except those [given](Self::fd) |
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
    /// The list that was too long.
    pub(super) too_long: Option<Reason>,
}

impl<'a> Setup<'a> {
    /// Makes a set-up of the steps that are always taken: signals, standard streams, descriptors.
    #[expect(clippy::new_without_default, reason = "nothing is a choice here, not a default")]
    pub const fn new() -> Self {
        Self { env: None, fds: Vec::new(), mask: NONE, steps: None, too_long: None }
    }

    /// Sets the program's environment, at most 64 of `NAME=value`. Without this it inherits that of
    /// the C library, which no other thread may change meanwhile; without a C library it has none.
    pub fn env(self, env: &'a [&'a CStr]) -> Self {
        Self { env: Some(env), ..self }
    }

    /// Gives the program a descriptor under this number (dup2(2)); 0, 1 and 2 are its standard
    /// streams. At most 16; of two with the same number the later one counts.
    pub fn fd(mut self, fd: BorrowedFd<'a>, number: RawFd) -> Self {
        if self.fds.push((fd, number)).is_err() {
            self.too_long = Some(Reason::new("descriptors", TOO_LONG, "more than 16"));
        }
        self
    }

    /// Keeps every signal blocked over the exec, until the program unblocks them (sigprocmask(2)).
    /// For a program that knows of it: no signal ends it before it has its own settings.
    ///
    /// Such a program must also close or [detach](super::detach_all_but) what it inherits: without
    /// a further step, the descriptors of this process that lack close-on-exec stay open.
    pub fn blocked(self) -> Self {
        Self { mask: ALL, ..self }
    }

    /// Makes the process the leader of a new session, without a terminal (setsid(2)).
    pub fn session(self) -> Self {
        self.with(|steps| steps.session = true)
    }

    /// Makes the process the leader of a new process group (setpgid(2)), unless it is to lead a
    /// session. A terminal's signals reach one group only.
    pub fn group(self) -> Self {
        self.with(|steps| steps.group = true)
    }

    /// Names the process, of which the kernel keeps 15 bytes (PR_SET_NAME of prctl(2)). An exec
    /// names it after the program's file, so this is for [`apply`](Self::apply).
    pub fn name(self, name: &'a CStr) -> Self {
        self.with(|steps| steps.name = Some(name))
    }

    /// Limits a resource, softly and hard, in its own unit; `u64::MAX` is no limit (setrlimit(2)).
    /// At most 16. A memory limit that is too low for the program ends it with a signal after the
    /// exec has worked.
    pub fn limit(mut self, resource: Resource, max: u64) -> Self {
        if self.steps.get_or_insert_default().limits.push((resource, max)).is_err() {
            self.too_long = Some(Reason::new("limits", TOO_LONG, "more than 16"));
        }
        self
    }

    /// Changes the root directory, and the working directory to it (chroot(2)); the program is then
    /// looked for in there, unless it is an [open file](super::Program::Open). Needs CAP_SYS_CHROOT.
    pub fn root(self, directory: &'a CStr) -> Self {
        self.with(|steps| steps.root = Some(directory))
    }

    /// Changes the working directory, as seen from the new root (chdir(2)).
    pub fn directory(self, directory: &'a CStr) -> Self {
        self.with(|steps| steps.directory = Some(directory))
    }

    /// Sets the real, effective and saved user and group, and the supplementary groups, at most 64
    /// (setgroups(2), setresgid(2), setresuid(2)). They are looked at afterwards, since a sandbox
    /// may answer calls that it does not make: other ids than these are a failure (`EPERM`).
    pub fn ids(self, uid: u32, gid: u32, groups: &'a [u32]) -> Self {
        self.with(|steps| steps.ids = Some((uid, gid, groups)))
    }

    /// Keeps set-user-ID programs and file capabilities from giving rights (prctl(2)).
    #[doc(alias = "PR_SET_NO_NEW_PRIVS")]
    pub fn no_new_privs(self) -> Self {
        self.with(|steps| steps.no_new_privs = true)
    }

    /// Sends the process this signal when its parent ends (PR_SET_PDEATHSIG of prctl(2)): the
    /// thread that has called [`spawn`](Self::spawn), which must therefore live on. A parent that
    /// is gone already is a failure (`ESRCH`). A set-user-ID program does not get the signal.
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn parent_death(self, signal: Signal) -> Self {
        self.with(|steps| steps.parent_death = Some(signal))
    }

    /// Restricts the process by a ruleset (landlock(7), kernel 5.13), which must let it execute the
    /// program. Needs [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN.
    pub fn landlock(self, ruleset: BorrowedFd<'a>) -> Self {
        self.with(|steps| steps.landlock = Some(ruleset))
    }

    /// Filters the system calls (seccomp(2)), at most 4096 instructions. The filter must permit
    /// execve, or execveat for an open file; and write and exit_group, or a failure of the exec
    /// shows only as the child's death. Needs [`no_new_privs`](Self::no_new_privs) or CAP_SYS_ADMIN.
    #[doc(alias = "seccomp")]
    pub fn filter(self, program: &'a [Instruction]) -> Self {
        self.with(|steps| steps.filter = Some(program))
    }

    fn with(mut self, set: impl FnOnce(&mut Steps<'a>)) -> Self {
        set(self.steps.get_or_insert_default());
        self
    }

    /// Fails where a list was too long.
    pub(super) fn check(&self) -> Result<(), Reason> {
        self.too_long.map_or(Ok(()), Err)
    }

    /// Returns whether the program is given a descriptor under this number.
    pub(super) fn has_number(&self, number: RawFd) -> bool {
        self.fds.iter().any(|&(_, given)| given == number)
    }
}
