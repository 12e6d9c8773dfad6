//! The launch by exec: the worker is a program that calls `serve`.

use core::ffi::CStr;
use core::marker::PhantomData;

use heapless::Vec;
use ipc_barrier::process::{Program, Setup};
use ipc_transport::{Errno, Instant, SharedPage, Stream, SystemError, above_stdio};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};

use super::launch::Launch;
use super::mark::Mark;
use super::medium::{Medium, OverSocket};
use super::serve::{BLOCKS, PAGE, STREAM};
use super::shared::Shared;
use super::state::{Policy, Process, SLICE};
use crate::blocks::{Lend, NoBlocks};
use crate::caller::Caller;
use crate::start_error::StartError;

/// Most arguments of a worker: its name, its mark, and the program's own.
const ARGS: usize = 64;

/// A worker that starts a worker before it serves.
#[cfg(feature = "std")]
const CHAIN: &str = "exec from a worker that has not called serve";
#[cfg(feature = "std")]
const EINVAL: Errno = Errno(22);

/// More arguments than the list can hold.
const E2BIG: Errno = Errno(7);

/// Starts a program that serves; see [`Start::exec_self`](crate::Start::exec_self) and
/// [`Start::exec`](crate::Start::exec).
#[derive(Debug)]
pub struct Exec<'a, M = OverSocket, B = NoBlocks> {
    /// The program's file, which stays the same even if its path is replaced.
    pub(crate) file: Option<OwnedFd>,
    pub(crate) path: &'a CStr,
    pub(crate) args: &'a [&'a CStr],
    pub(crate) env: Option<&'a [&'a CStr]>,
    pub(crate) medium: PhantomData<M>,
    pub(crate) blocks: B,
}

impl<'a> Exec<'a> {
    pub(crate) const fn at(path: &'a CStr) -> Self {
        Self { file: None, path, args: &[], env: None, medium: PhantomData, blocks: NoBlocks }
    }

    pub(crate) fn this_program() -> Result<Self, SystemError> {
        let path = c"/proc/self/exe";
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty());
        let file = above_stdio(file.map_err(SystemError::of("open /proc/self/exe"))?)?;
        Ok(Self { file: Some(file), ..Self::at(path) })
    }
}

impl<M: Medium, B: Lend> Launch for Exec<'_, M, B> {
    type Medium = M;
    type Blocks = B;

    /// Both ends of a stream, the words' file, and duplicates for the child. Without posix_spawn
    /// also a pipe.
    const DESCRIPTORS: usize = 11;

    fn blocks(&self) -> &B {
        &self.blocks
    }

    fn blocks_mut(&mut self) -> &mut B {
        &mut self.blocks
    }

    fn begin<Tag, const SLOTS: usize, const BYTES: usize>(
        &mut self,
        policy: &Policy,
        deadline: Instant,
        caller: &mut Caller<Tag, SLOTS, BYTES>,
    ) -> Result<Option<Process>, StartError> {
        #[cfg(feature = "std")]
        if super::serve::is_still_to_serve() {
            // It would start itself again, and so on.
            return Err(SystemError { call: CHAIN, errno: EINVAL }.into());
        }
        let (mut stream, theirs) = Stream::pair()?;
        stream.pass_rights(false);
        stream.set_receive_timeout(SLICE)?;
        let (page, file) = SharedPage::with_file(Shared::len::<M>(SLOTS, BYTES))?;
        caller.offer_all(Shared::of(page.words(), Shared::len_alone(SLOTS)).words);
        let program = match &self.file {
            Some(file) => Program::Open(file.as_fd()),
            None => Program::Path(self.path),
        };
        let blocks = self.blocks.file();
        let mark = Mark::new(policy.patience, blocks.is_some()).text();
        let mark = CStr::from_bytes_with_nul(&mark).unwrap_or_default();
        let mut args: Vec<&CStr, ARGS> = Vec::new();
        for arg in [program.name(), mark].into_iter().chain(self.args.iter().copied()) {
            let too_many = SystemError { call: "exec", errno: E2BIG };
            args.push(arg).map_err(|_| too_many)?;
        }
        // Signals stay blocked until the worker has reset them, as in a forked worker.
        let setup = Setup::new().blocked().fd(theirs.as_fd(), STREAM).fd(file.as_fd(), PAGE);
        let setup = match blocks {
            Some(file) => setup.fd(file, BLOCKS),
            None => setup,
        };
        let setup = match self.env {
            Some(env) => setup.env(env),
            None => setup,
        };
        let child = setup.spawn(program, &args, deadline)?;
        Ok(Some(Process::new(child, stream, page, Shared::len_alone(SLOTS))))
    }
}
