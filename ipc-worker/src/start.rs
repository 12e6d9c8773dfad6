//! How a worker is started: its launch, and what the builder calls set.

use core::ffi::CStr;
use core::time::Duration;

use ipc_transport::{Patience, SystemError};
#[cfg(feature = "libc")]
use rustix::fd::BorrowedFd;

use crate::blocks::Blocks;
use crate::handler::{Handler, Holding, Reply, Request};
use crate::identity::Identity;
use crate::ledger::{Restart, TimeLimit};
use crate::process::{Exec, Fork, Inline, Policy};
use crate::refusal::Refusal;

/// How long a worker may take to be ready, unless [`Start::ready_within`] says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How a worker is started, and restarted.
#[derive(Debug)]
pub struct Start<L> {
    pub(crate) launch: L,
    pub(crate) policy: Policy,
}

impl<H: Handler> Start<Fork<H>> {
    /// Runs the handler in a forked process (fork(2)).
    ///
    /// Each new worker begins with the handler as it was here. In the child every descriptor is
    /// cut off from its file but 0, 1, 2 and those that [`Handler::descriptors`] lists; the numbers
    /// stay taken, see [`detach_all_but`](ipc_barrier::process::detach_all_but). SIGINT, SIGTERM,
    /// SIGHUP and SIGPIPE are ignored: the child ends when main closes. All other signals have
    /// their default action, and none is blocked. A real-time policy, a negative nice value and a
    /// negative `oom_score_adj` are given up.
    ///
    /// A function or closure must capture nothing, which is checked at compile time; for others see
    /// [`fork_with`](Start::fork_with).
    #[cfg(feature = "libc")]
    pub fn fork(handler: H) -> Self {
        Self::new(Fork::new(ipc_barrier::process::fork, handler))
    }

    /// Runs the handler in a process forked by the raw system call, for programs without a C
    /// library. See [`fork`](Self::fork).
    ///
    /// # Safety
    /// The program has no C library and one thread, now and whenever a worker is restarted.
    #[expect(unsafe_code, reason = "the raw fork's promise is passed on to the caller")]
    pub unsafe fn fork_raw(handler: H) -> Self {
        fn raw() -> Result<ipc_barrier::process::Fork, ipc_barrier::process::ForkError> {
            // SAFETY: the caller of `Start::fork_raw` has promised what this needs.
            unsafe { ipc_barrier::process::fork_raw() }
        }
        Self::new(Fork::new(raw, handler))
    }
}

impl<'fd, F, const N: usize> Start<Fork<Holding<'fd, F, N>>>
where
    F: FnMut(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>,
{
    /// Runs a function or closure in a forked process, as [`fork`](Start::fork) does, with the
    /// descriptors that it uses.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use ipc_worker::{Reply, Request, Start, Worker};
    ///
    /// let log = std::fs::File::create("/dev/null")?;
    /// let append = |request: &mut Request<'_>, _: &mut Reply<'_>| {
    ///     Ok(std::io::Write::write_all(&mut &log, request.bytes())?)
    /// };
    /// let worker = Worker::<u32, _>::start(Start::fork_with(&[log.as_fd()], append))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "libc")]
    pub fn fork_with(fds: &[BorrowedFd<'fd>; N], function: F) -> Self {
        Self::fork(Holding { function, fds: *fds })
    }
}

impl Start<Exec<'static>> {
    /// Starts this program again, as a worker (`/proc/self/exe`, which is opened here: a program
    /// that replaces this one on disk is never mixed with it). Its `main` begins with
    /// [`is_worker`](crate::is_worker) and [`serve`](crate::serve).
    ///
    /// It works from any program, also while other threads run; where there is a C library, by
    /// posix_spawn(3), whose cost does not grow with this process's memory. Main stands still until
    /// the exec.
    ///
    /// # Errors
    /// Those of open(2): where `/proc` is not mounted start a program by its path, with
    /// [`exec`](Start::exec).
    pub fn exec_self() -> Result<Self, SystemError> {
        Ok(Self::new(Exec::this_program()?))
    }
}

impl<'a> Start<Exec<'a>> {
    /// Starts a program that [serves](crate::serve), by its path. `PATH` is not searched.
    ///
    /// What worker and main share lies in a sealed file in memory: starts fail with the error of
    /// memfd_create(2) (kernel 3.17) where a filter refuses it.
    pub const fn exec(path: &'a CStr) -> Self {
        Self::new(Exec::at(path))
    }
}

impl<'a, M, B> Start<Exec<'a, M, B>> {
    /// Adds arguments, at most 62. The program's first ones are its name and a mark.
    #[must_use]
    pub const fn args(mut self, args: &'a [&'a CStr]) -> Self {
        self.launch.args = args;
        self
    }

    /// Sets the environment, at most 64 of `NAME=value`; without this it is main's, or without a C
    /// library none.
    #[must_use]
    pub const fn env(mut self, env: &'a [&'a CStr]) -> Self {
        self.launch.env = Some(env);
        self
    }
}

impl<H: Handler> Start<Inline<H>> {
    /// Runs the handler in main itself, during [`turn`](crate::Worker::turn): the same calls and
    /// outcomes with one process. A handler that blocks blocks main, and its panic is main's: in
    /// a program that catches it, what had run since the last settling is lost.
    pub fn inline(handler: H) -> Self {
        Self::new(Inline::new(handler))
    }
}

impl<H: Handler, M> Start<Fork<H, M>> {
    /// Lets requests be lent blocks of shared memory for large payloads, by
    /// [`Call::block`](crate::Call::block): `N` blocks of at least `len` bytes, rounded up to pages of
    /// 4 KiB. A payload then is copied once on its way to the handler, and once on its way back, and
    /// not through `BYTES`.
    ///
    /// The memory is mapped once, at the first start, and stays the same for all later workers. A page
    /// of it takes memory once it was used. A hostile worker can change the bytes of any block at any
    /// time, and nothing else.
    ///
    /// ```
    /// use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
    ///
    /// fn upper(request: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
    ///     let block = request.block().ok_or(Refusal::new(1, "no block"))?;
    ///     let mut bytes = [0; 5];
    ///     let len = block.bytes().read_at(0, &mut bytes);
    ///     bytes.make_ascii_uppercase();
    ///     block.space().write_at(0, &bytes);
    ///     block.reply(len)
    /// }
    ///
    /// let start = Start::fork(upper).blocks::<2>(4 << 20);
    /// let mut worker = Worker::<(), _>::start(start)?;
    /// let call = Call::new(1, &[]).block(&[b"he", b"llo"]);
    /// worker.call_until(call, (), Instant::NEVER, |event| {
    ///     let Event::Done { outcome: Outcome::Reply(reply), .. } = event else { panic!("{event:?}") };
    ///     let mut bytes = [0; 5];
    ///     reply.block().map(|block| block.read_at(0, &mut bytes));
    ///     assert_eq!(&bytes, b"HELLO");
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn blocks<const N: usize>(self, len: usize) -> Start<Fork<H, M, Blocks<N>>> {
        let Fork { handler, by, medium, .. } = self.launch;
        let blocks = Blocks::new(len, false);
        Start { launch: Fork { handler, by, medium, blocks }, policy: self.policy }
    }
}

impl<'a, M> Start<Exec<'a, M>> {
    /// Lets requests be lent blocks of shared memory, as [`blocks`](Start::blocks) of a fork does. The
    /// memory is a sealed file: memfd_create(2), kernel 3.17.
    #[must_use]
    pub fn blocks<const N: usize>(self, len: usize) -> Start<Exec<'a, M, Blocks<N>>> {
        let Exec { file, path, args, env, medium, .. } = self.launch;
        let blocks = Blocks::new(len, true);
        Start { launch: Exec { file, path, args, env, medium, blocks }, policy: self.policy }
    }
}

impl<H: Handler> Start<Inline<H>> {
    /// Lets requests be lent blocks, as [`blocks`](Start::blocks) of a fork does.
    #[must_use]
    pub fn blocks<const N: usize>(self, len: usize) -> Start<Inline<H, Blocks<N>>> {
        let launch = Inline::with_blocks(self.launch.handler, Blocks::new(len, false));
        Start { launch, policy: self.policy }
    }
}

impl<L> Start<L> {
    const fn new(launch: L) -> Self {
        let policy = Policy {
            restart: Restart::STANDARD,
            ready_within: READY_WITHIN,
            patience: Patience::SLEEP,
            expected: &Identity::NONE,
            limit: TimeLimit::NONE,
        };
        Self { launch, policy }
    }

    /// Sets when a worker that has ended is followed by another; [`Restart::STANDARD`] unless said
    /// otherwise.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// Lets both sides spin before they sleep: the worker for requests, main in
    /// [`call_until`](crate::Worker::call_until) for its reply. It pays where both run at once, so
    /// give it as [`Patience::where_parallel`] does; [`Patience::SLEEP`] unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.policy.patience = patience;
        self
    }

    /// Limits how long a request may run: then its handler is asked to stop, and after a grace its
    /// worker is killed. No limit unless said otherwise; [`Call::time_limit`](crate::Call::time_limit)
    /// sets a shorter one. In line there is none.
    #[must_use]
    pub fn time_limit(mut self, limit: TimeLimit) -> Self {
        self.policy.limit = limit;
        self
    }

    /// Refuses a worker that serves anything else, or whose service another build declares:
    /// [`StartError::OtherService`](crate::StartError::OtherService). Any is taken unless said
    /// otherwise.
    #[must_use]
    pub fn expects(mut self, identity: &'static Identity) -> Self {
        self.policy.expected = identity;
        self
    }

    /// Sets how long a worker may take to be ready; 10 seconds unless said otherwise.
    #[must_use]
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.policy.ready_within = time;
        self
    }
}
