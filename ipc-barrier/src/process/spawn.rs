//! The start of a program: by posix_spawn where that can do it, else by fork, set-up and exec.

#![expect(unsafe_code, reason = "a fork beside threads, and descriptors at given numbers")]

use core::ffi::CStr;
use core::time::Duration;

use heapless::Vec;
use ipc_transport::{Errno, Instant, Interest, SystemError, Watched, open_stdio, wait};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{fcntl_getfd, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use syscalls::{Sysno, syscall};

#[cfg(not(feature = "libc"))]
use super::bare as system;
use super::child::{Child, Ended};
use super::closing::{any_survives_exec, close_all_at_exec};
use super::fork::{Fork, exit, fork_raw};
#[cfg(feature = "libc")]
use super::posix as system;
use super::program::{Program, Ready, duplicate_beside};
use super::reason::{Reason, SIZE, failed};
use super::setup::{FDS, Setup};
use super::signals::{NONE, block_signals, reset_actions, set_mask};
use super::spawn_error::SpawnError;
use super::stat;

/// How long a child that was killed, or has failed, may take to end.
const END: Duration = Duration::from_secs(1);

/// The status of a child whose set-up failed, which nobody sees.
const NOT_STARTED: i32 = 127;

impl Setup<'_> {
    /// Starts another program and returns once its exec has worked.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn<'p>(
        &self,
        program: impl Into<Program<'p>>,
        args: &'p [&'p CStr],
        deadline: Instant,
    ) -> Result<Child, SpawnError> {
        self.spawn_program(program.into(), args, deadline)
    }

    fn spawn_program(
        &self,
        program: Program<'_>,
        args: &[&CStr],
        deadline: Instant,
    ) -> Result<Child, SpawnError> {
        if let Some(reason) = self.too_many {
            return Err(reason.into());
        }
        let numbers: Vec<RawFd, FDS> = self.fds.iter().map(|&(_, number)| number).collect();
        let ready = Ready::new(program, args, system::environment(), &numbers)?;
        let mut fds: Vec<(OwnedFd, RawFd), FDS> = Vec::new();
        for &(fd, number) in &self.fds {
            // The list is as long as the other.
            _ = fds.push((duplicate_beside(fd, &numbers)?, number));
        }
        // A program of our own leaves what it inherits alone.
        let keeps = self.mask != NONE || !any_survives_exec();
        if keeps && stdio_is_open(&numbers) {
            if let Some(child) = system::spawn(&ready, &fds, self.mask)? {
                return Ok(child);
            }
        }
        let [told, tell] = pipe(&numbers)?;
        let blocked = block_signals()?;
        // SAFETY: the child makes nothing but system calls until it exits or becomes the program.
        let child = match unsafe { fork_raw() }? {
            Fork::Child(_guard) => {
                let reason = self.prepare(&fds).map_or_else(|reason| reason, |()| ready.exec());
                // A parent that is gone needs no reason.
                _ = rustix::io::write(&tell, &reason.to_bytes());
                exit(NOT_STARTED)
            }
            Fork::Parent(child) => child,
        };
        drop((blocked, tell));
        started(child, told.as_fd(), deadline)
    }

    /// Does all that comes before the exec, in the child.
    fn prepare(&self, fds: &[(OwnedFd, RawFd)]) -> Result<(), Reason> {
        let at = |stage| move |error: SystemError| Reason::new(stage, error.errno, error.call);
        reset_actions(&[]).and_then(|()| set_mask(self.mask)).map_err(at("signals"))?;
        open_stdio().map_err(at("standard streams"))?;
        close_all_at_exec();
        for (fd, number) in fds {
            // SAFETY: the call touches no memory; what owned the number is not used in this process.
            unsafe { syscall!(Sysno::dup3, fd.as_raw_fd(), *number, 0) }
                .map_err(|error| failed("descriptors", b"dup3")(Errno(error.into_raw())))?;
        }
        Ok(())
    }
}

/// Makes a pipe whose ends are at none of these numbers, nor at 0, 1 or 2.
fn pipe(numbers: &[RawFd]) -> Result<[OwnedFd; 2], SystemError> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(SystemError::of("pipe2"))?;
    Ok([duplicate_beside(read.as_fd(), numbers)?, duplicate_beside(write.as_fd(), numbers)?])
}

/// Waits until the child has become the program, or has told why not.
fn started(mut child: Child, told: BorrowedFd<'_>, deadline: Instant) -> Result<Child, SpawnError> {
    let mut bytes = [0; SIZE];
    let error = match wait(&mut [Watched::new(told, Interest::Input)], Some(deadline)) {
        Ok(false) => SpawnError::TimedOut,
        Ok(true) => match retry_on_intr(|| rustix::io::read(told, &mut bytes)) {
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
    const NO_EXEC: u32 = 0x40;
    let path = heapless::format!(32; "/proc/{}/stat", child.pid()).unwrap_or_default();
    let stat = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    match stat.ok().and_then(|stat| stat::read(stat, &mut [0; stat::LEN]).map(|(_, flags)| flags)) {
        Some(flags) if flags & NO_EXEC == 0 => None,
        Some(_) => Some(child.wait_until(Instant::now() + END).unwrap_or(Ended::Unknown)),
        // A program that a signal ends so soon has hardly begun either.
        None => child.try_wait().filter(|ended| matches!(ended, Ended::Killed(_))),
    }
}

/// Returns whether 0, 1 and 2 are open, or will be.
fn stdio_is_open(numbers: &[RawFd]) -> bool {
    (0..3).all(|number| {
        // SAFETY: the number is only asked about; that it may not be open is the question.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        numbers.contains(&number) || fcntl_getfd(fd).is_ok()
    })
}
