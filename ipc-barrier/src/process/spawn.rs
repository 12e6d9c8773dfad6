//! Starts a program: by posix_spawn if it can do everything asked, otherwise by fork and exec.

#![expect(unsafe_code, reason = "a fork while threads run, and dup3 to given numbers")]

use core::ffi::CStr;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, again_on_intr, wait};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, readlinkat_raw};
use rustix::path::DecInt;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpid;
use syscalls::{Sysno, syscall};

#[cfg(not(feature = "libc"))]
use super::bare as system;
use super::child::{Child, Ended};
use super::closing::{close_all_at_exec, may_any_survive_exec};
use super::decimal::{joined, number};
use super::fork::{Fork, exit, fork_raw};
#[cfg(feature = "libc")]
use super::posix as system;
use super::program::{Program, Ready, SpawnError, duplicate_beside};
use super::reason::{REASON, Reason, failed};
use super::setup::Setup;
use super::signals::{NONE, block_signals, reset};
use super::stat;

/// How long a killed or failed child may take to end.
const END: Duration = Duration::from_secs(1);

/// The exit status of a child whose set-up failed. Nobody sees it.
const NOT_STARTED: i32 = 127;

impl Setup<'_> {
    /// Starts another program, and returns once its exec has succeeded (execve(2)). `args` are all
    /// arguments, starting with the program's name; at most 64.
    ///
    /// Safe to call while other threads run. The child is made by clone(2) and makes nothing but
    /// system calls. All signals stay blocked in it until it has its own settings.
    ///
    /// If a C library is linked and the set-up has only signals, streams and descriptors,
    /// posix_spawn(3) starts the program. It allocates inside the C library, and its cost does not
    /// grow with the memory of this process. In all other cases the call forks, and the cost of a
    /// fork does grow. Those cases are: any further step, a descriptor of this process that lacks
    /// close-on-exec, and a missing `/proc`.
    ///
    /// Exec closes every descriptor except 0 to 2 and those given. On kernels before 5.11 without
    /// `/proc`, descriptors that lack close-on-exec stay open.
    ///
    /// The deadline covers the time after the clone. A program that is killed right after its exec
    /// counts as started, provided that the `/proc` of this pid namespace is mounted.
    ///
    /// # Errors
    /// See [`SpawnError`]. If the set-up or the exec failed, its [`Reason`] names the stage.
    #[doc(alias = "posix_spawn")]
    #[doc(alias = "exec")]
    pub fn spawn<'p>(
        &self,
        program: impl Into<Program<'p>>,
        args: &[&CStr],
        deadline: Instant,
    ) -> Result<Child, SpawnError> {
        self.check()?;
        let ready = Ready::new(self, program.into(), args, system::environment())?;
        // A program that starts with signals blocked handles inherited descriptors itself.
        if self.steps.is_none() && (self.mask != NONE || !may_any_survive_exec()) {
            if let Some(child) = system::spawn(&ready, self.mask)? {
                return Ok(child);
            }
        }
        self.fork_and_exec(&ready, deadline)
    }

    fn fork_and_exec(&self, ready: &Ready<'_>, deadline: Instant) -> Result<Child, SpawnError> {
        let (told, mut tell) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
        let told = above_stdio(told)?;
        tell = duplicate_beside(tell.as_fd(), self)?;
        let (parent, ruleset) = (Some(getpid()), ready.ruleset.as_ref().map(AsRawFd::as_raw_fd));
        let blocked = block_signals()?;
        // SAFETY: the child makes nothing but system calls until it exits or becomes the program.
        let child = match unsafe { fork_raw() }? {
            Fork::Child(_guard) => {
                let mut prepared = self.prepare(&ready.fds);
                if let (Ok(()), Some(steps)) = (&prepared, &self.steps) {
                    prepared = steps.take(parent, ruleset);
                }
                let reason = prepared.map_or_else(|reason| reason, |()| ready.exec());
                // This fails if the parent is gone, and then nobody needs the reason.
                _ = rustix::io::write(&tell, &reason.to_bytes());
                exit(NOT_STARTED)
            }
            Fork::Parent(child) => child,
        };
        drop((blocked, tell));
        started(child, told.as_fd(), deadline)
    }

    /// Sets up signals, streams and descriptors, in the child.
    fn prepare(&self, fds: &[(OwnedFd, RawFd)]) -> Result<(), Reason> {
        reset(&[], self.mask).map_err(|error| Reason::new("signals", error.errno, error.call))?;
        close_all_at_exec();
        for (fd, number) in fds {
            // SAFETY: the call touches no memory. The child does not use what owned the number.
            unsafe { syscall!(Sysno::dup3, fd.as_raw_fd(), *number, 0) }
                .map_err(syscalls::Errno::into_raw)
                .map_err(failed("descriptors", b"dup3"))?;
        }
        Ok(())
    }
}

/// Waits until the child has become the program, or has reported why not.
fn started(mut child: Child, told: BorrowedFd<'_>, deadline: Instant) -> Result<Child, SpawnError> {
    let mut bytes = [0; REASON];
    let error = match wait(&mut [Watched::new(told, Interest::Input)], Some(deadline)) {
        Ok(false) => SpawnError::TimedOut,
        Ok(true) => match again_on_intr(|| rustix::io::read(told, &mut bytes)) {
            // The exec or the child's end closed the pipe.
            Ok(0) => match ended_before_exec(&mut child) {
                None => return Ok(child),
                Some(ended) => SpawnError::Died(ended),
            },
            Ok(_) => SpawnError::Failed(Reason::from_bytes(&bytes)),
            Err(error) => SystemError::of("read")(error).into(),
        },
        Err(error) => error.into(),
    };
    _ = child.kill();
    child.wait_until(Instant::now() + END);
    Err(error)
}

/// Returns how a child ended, if it never became the program.
fn ended_before_exec(child: &mut Child) -> Option<Ended> {
    /// PF_FORKNOEXEC of linux/sched.h.
    const NO_EXEC: u64 = 0x40;
    let path = joined::<32>(&[b"/proc/", DecInt::new(child.pid()).as_bytes(), b"/stat\0"]);
    let path = CStr::from_bytes_with_nul(&path).unwrap_or_default();
    let (mut own, pid) = ([0; 16], u64::from(getpid().as_raw_pid().unsigned_abs()));
    let len = readlinkat_raw(CWD, c"/proc/self", &mut own[..]).unwrap_or_default();
    // In the /proc of another pid namespace, another process has the child's number.
    let path = if own.get(..len).and_then(number) == Some(pid) { path } else { c"" };
    let stat = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match stat.ok().and_then(|stat| stat::read(stat, &mut [0; stat::LEN]).map(|(_, flags)| flags)) {
        Some(flags) if flags & NO_EXEC == 0 => None,
        Some(_) => Some(child.wait_until(Instant::now() + END).unwrap_or(Ended::Unknown)),
        // Unknown. A child that a signal killed so soon has probably not reached its exec.
        None => child.try_wait().filter(|ended| matches!(ended, Ended::Killed(_))),
    }
}
