//! How a worker is started: its launch, and the builder's settings.

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

/// How long a worker may take to be ready, by default; see [`Start::ready_within`].
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How a worker is started and restarted.
#[derive(Debug)]
pub struct Start<L> {
    pub(crate) launch: L,
    pub(crate) policy: Policy,
}

impl<H: Handler> Start<Fork<H>> {
    /// Runs the handler in a forked process (fork(2)).
    ///
    /// Each new worker gets a copy of the handler as it is here. The child keeps the descriptors 0,
    /// 1 and 2 and those that [`Handler::descriptors`] lists. It detaches all others from their
    /// files, but the numbers stay in use; see
    /// [`detach_all_but`](ipc_barrier::process::detach_all_but). It ignores SIGINT, SIGTERM, SIGHUP
    /// and SIGPIPE, and ends when main closes. All other signals have their default action, and
    /// none is blocked. The child gives up a real-time policy, a negative nice value and a negative
    /// `oom_score_adj`.
    ///
    /// A function or closure must not capture anything, which is checked at compile time. For one
    /// that does, see [`fork_with`](Start::fork_with).
    #[cfg(feature = "libc")]
    pub fn fork(handler: H) -> Self {
        Self::new(Fork::new(ipc_barrier::process::fork, handler))
    }

    /// Runs the handler in a process forked by the raw system call, for programs without a C
    /// library. See [`fork`](Self::fork).
    ///
    /// # Safety
    /// The program must have no C library and only one thread, now and at each restart.
    #[expect(unsafe_code, reason = "the caller promises what the raw fork needs")]
    pub unsafe fn fork_raw(handler: H) -> Self {
        fn raw() -> Result<ipc_barrier::process::Fork, ipc_barrier::process::ForkError> {
            // SAFETY: the caller of `Start::fork_raw` promised what this needs.
            unsafe { ipc_barrier::process::fork_raw() }
        }
        Self::new(Fork::new(raw, handler))
    }
}

impl<'fd, F, const N: usize> Start<Fork<Holding<'fd, F, N>>>
where
    F: FnMut(&mut Request<'_>, &mut Reply<'_>) -> Result<(), Refusal>,
{
    /// Runs a function or closure in a forked process, as [`fork`](Start::fork) does. `fds` are the
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
    /// Starts this program again, as a worker. Its `main` must begin with
    /// [`is_worker`](crate::is_worker) and [`serve`](crate::serve). `/proc/self/exe` is opened
    /// here, so replacing the program on disk does not affect later workers.
    ///
    /// Works from any program, even while other threads run. With a C library it uses
    /// posix_spawn(3), whose cost does not grow with this process's memory. Main is suspended until
    /// the exec.
    ///
    /// # Errors
    /// Those of open(2). If `/proc` is not mounted, start the program by its path, with
    /// [`exec`](Start::exec). With `std`, the start itself fails with `EINVAL` in a worker that
    /// has not called [`serve`](crate::serve): it would start itself without end.
    pub fn exec_self() -> Result<Self, SystemError> {
        Ok(Self::new(Exec::this_program()?))
    }
}

impl<'a> Start<Exec<'a>> {
    /// Starts a program that [serves](crate::serve), by its path. `PATH` is not searched.
    ///
    /// Worker and main share a sealed memory file. Where a filter refuses memfd_create(2) (kernel
    /// 3.17), starts fail with its error.
    pub const fn exec(path: &'a CStr) -> Self {
        Self::new(Exec::at(path))
    }
}

impl<'a, M, B> Start<Exec<'a, M, B>> {
    /// Adds arguments, at most 62. They follow the program's name and a mark.
    #[must_use]
    pub const fn args(mut self, args: &'a [&'a CStr]) -> Self {
        self.launch.args = args;
        self
    }

    /// Sets the environment, at most 64 strings `NAME=value`. The default is main's environment, or
    /// with no C library an empty one.
    #[must_use]
    pub const fn env(mut self, env: &'a [&'a CStr]) -> Self {
        self.launch.env = Some(env);
        self
    }
}

impl<H: Handler> Start<Inline<H>> {
    /// Runs the handler in main itself, during [`turn`](crate::Worker::turn). Calls and outcomes
    /// are the same, but there is no other process. A handler that blocks blocks main, and its
    /// panic is main's. If the program catches the panic, everything since the last `settle` is
    /// lost.
    pub fn inline(handler: H) -> Self {
        Self::new(Inline::new(handler))
    }
}

impl<H: Handler, M> Start<Fork<H, M>> {
    /// Adds `N` blocks of shared memory for large payloads; see
    /// [`Call::block`](crate::Call::block). Each has at least `len` bytes, rounded up to pages of 4
    /// KiB, and under 4 GiB: the start fails with `EINVAL` if not. A payload in a block is copied
    /// once on its way to the handler and once on its way back. It does not pass through `BYTES`.
    ///
    /// The memory is mapped once, at the first start, and used by all later workers. A page takes
    /// physical memory only once it is used. A hostile worker can change the bytes of any block at
    /// any time, and nothing else.
    ///
    /// ```
    /// use ipc_worker::{Call, Event, Instant, Outcome, Refusal, Reply, Request, Start, Worker};
    ///
    /// fn upper(request: &mut Request<'_>, _: &mut Reply<'_>) -> Result<(), Refusal> {
    ///     let block = request.block().ok_or(Refusal::new(1000, "no block"))?;
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
    ///     let Event::Done { outcome: Outcome::Reply(reply), .. } = event else {
    ///         panic!("{event:?}")
    ///     };
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
    /// Adds blocks of shared memory, as [`blocks`](Start::blocks) of a forked worker does. The
    /// memory is a sealed file: memfd_create(2), kernel 3.17.
    #[must_use]
    pub fn blocks<const N: usize>(self, len: usize) -> Start<Exec<'a, M, Blocks<N>>> {
        let Exec { file, path, args, env, medium, .. } = self.launch;
        let blocks = Blocks::new(len, true);
        Start { launch: Exec { file, path, args, env, medium, blocks }, policy: self.policy }
    }
}

impl<H: Handler> Start<Inline<H>> {
    /// Adds blocks for large payloads, as [`blocks`](Start::blocks) of a forked worker does.
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

    /// Sets the restart policy. The default is [`Restart::STANDARD`].
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// Lets both sides spin before they sleep: the worker for requests, main in
    /// [`call_until`](crate::Worker::call_until) for the reply. This helps only if both run in
    /// parallel; see [`Patience::where_parallel`]. The default is [`Patience::SLEEP`].
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.policy.patience = patience;
        self
    }

    /// Limits how long a request may run. After that time its handler is asked to stop, and after
    /// the grace period its worker is killed. By default there is no limit.
    /// [`Call::time_limit`](crate::Call::time_limit) sets a shorter one. Ignored inline.
    #[must_use]
    pub fn time_limit(mut self, limit: TimeLimit) -> Self {
        self.policy.limit = limit;
        self
    }

    /// Refuses a worker that serves anything else, or another build of the service:
    /// [`StartError::OtherService`](crate::StartError::OtherService). By default any worker is
    /// accepted.
    #[must_use]
    pub fn expects(mut self, identity: &'static Identity) -> Self {
        self.policy.expected = identity;
        self
    }

    /// Sets how long a worker may take to be ready. The default is 10 seconds.
    #[must_use]
    pub fn ready_within(mut self, time: Duration) -> Self {
        self.policy.ready_within = time;
        self
    }
}
