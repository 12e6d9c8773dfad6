//! The start of a program: by posix_spawn where that can do it, else by fork, set-up and exec.

#![expect(unsafe_code, reason = "a fork beside threads, and descriptors at given numbers")]

use core::ffi::CStr;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, again_on_intr, wait};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::path::DecInt;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::getpid;
use syscalls::{Sysno, syscall};

#[cfg(not(feature = "libc"))]
use super::bare as system;
use super::child::{Child, Ended};
use super::closing::{close_all_at_exec, may_any_survive_exec};
use super::decimal::joined;
use super::fork::{Fork, exit, fork_raw};
#[cfg(feature = "libc")]
use super::posix as system;
use super::program::{Program, Ready, SpawnError, duplicate_beside};
use super::reason::{REASON, Reason, failed};
use super::setup::Setup;
use super::signals::{NONE, block_signals, reset};
use super::stat;

/// How long a child that was killed, or has failed, may take to end.
const END: Duration = Duration::from_secs(1);

/// The status of a child whose set-up failed, which nobody sees.
const NOT_STARTED: i32 = 127;

impl Setup<'_> {
    /// Starts another program, and returns once its exec has worked (execve(2)). `args` are all of
    /// its arguments, its name first, at most 64.
    ///
    /// It may be called beside other threads. The child is made by clone(2) and makes nothing but
    /// system calls, with all signals blocked until it has its own settings. Where a C library is
    /// linked, and signals, streams and descriptors are all there is to set, posix_spawn(3) does
    /// it: it takes memory from the C library for the time of the call, and its cost does not grow
    /// with the memory of this process. Any other step makes it a fork, whose cost does, and so does
    /// a descriptor of this process that lacks close-on-exec, or `/proc` where it is missing.
    ///
    /// Exec closes every descriptor but 0 to 2 and those given. On kernels before 5.11 without
    /// `/proc`, those that lack close-on-exec stay open.
    ///
    /// The deadline counts for what comes after the clone. A program that is killed right after its
    /// exec was started all the same, as far as `/proc` is there to tell.
    ///
    /// # Errors
    /// See [`SpawnError`]. A failure of the set-up or the exec is a [`Reason`] with its stage.
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
        // A program of our own leaves what it inherits alone.
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
                // A parent that is gone needs no reason.
                _ = rustix::io::write(&tell, &reason.to_bytes());
                exit(NOT_STARTED)
            }
            Fork::Parent(child) => child,
        };
        drop((blocked, tell));
        started(child, told.as_fd(), deadline)
    }

    /// Sets signals, streams and descriptors, in the child.
    fn prepare(&self, fds: &[(OwnedFd, RawFd)]) -> Result<(), Reason> {
        reset(&[], self.mask).map_err(|error| Reason::new("signals", error.errno, error.call))?;
        close_all_at_exec();
        for (fd, number) in fds {
            // SAFETY: the call touches no memory; what owned the number is not used in this process.
            unsafe { syscall!(Sysno::dup3, fd.as_raw_fd(), *number, 0) }
                .map_err(syscalls::Errno::into_raw)
                .map_err(failed("descriptors", b"dup3"))?;
        }
        Ok(())
    }
}

/// Waits until the child has become the program, or has told why not.
fn started(mut child: Child, told: BorrowedFd<'_>, deadline: Instant) -> Result<Child, SpawnError> {
    let mut bytes = [0; REASON];
    let error = match wait(&mut [Watched::new(told, Interest::Input)], Some(deadline)) {
        Ok(false) => SpawnError::TimedOut,
        Ok(true) => match again_on_intr(|| rustix::io::read(told, &mut bytes)) {
            // Closed by the exec, or by the child's end.
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

/// Returns how a child has ended that never became the program.
fn ended_before_exec(child: &mut Child) -> Option<Ended> {
    /// PF_FORKNOEXEC of linux/sched.h.
    const NO_EXEC: u64 = 0x40;
    let path = joined::<32>(&[b"/proc/", DecInt::new(child.pid()).as_bytes(), b"/stat\0"]);
    let path = CStr::from_bytes_with_nul(&path).unwrap_or_default();
    let stat = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match stat.ok().and_then(|stat| stat::read(stat, &mut [0; stat::LEN]).map(|(_, flags)| flags)) {
        Some(flags) if flags & NO_EXEC == 0 => None,
        Some(_) => Some(child.wait_until(Instant::now() + END).unwrap_or(Ended::Unknown)),
        // A program that a signal ends so soon has hardly begun either.
        None => child.try_wait().filter(|ended| matches!(ended, Ended::Killed(_))),
    }
}
