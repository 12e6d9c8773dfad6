//! Several workers behind one descriptor.

mod place;

use core::fmt;

use ipc_frame::Encode;
use ipc_transport::{Instant, Interest, SystemError, Watched, wait};
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event as Ready, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::call::{Call, NotTaken, Why};
use crate::event::Event;
use crate::ledger::RequestId;
use crate::process::Launch;
use crate::worker::Worker;

/// `N` workers behind one descriptor. Each has at most `SLOTS` requests in flight, in `BYTES` bytes
/// for each direction.
///
/// A request goes to the least busy worker, or by its [`key`](Call::key): requests with the same
/// key go to one worker and keep their order. There is no other order. Each worker has a separate
/// process, queue and restart policy, so a dead or slow worker delays only its own requests.
///
/// The loop is the same as for one [`Worker`]: wait for [`as_fd`](AsFd::as_fd) or
/// [`next_deadline`](Self::next_deadline), call [`turn`](Self::turn), take the events.
///
/// ```
/// use ipc_worker::{Call, Event, Instant, Pool, Refusal, Reply, Request, Start};
///
/// fn handle(request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
///     reply.put(request.bytes())
/// }
///
/// let mut pool = Pool::<u32, _, 3>::start(|_| Ok(Start::inline(handle)))?;
/// for tag in 0..3 {
///     pool.try_call(Call::new(1, &[b"hello"]), tag)?;
/// }
/// pool.turn(Instant::now());
/// while let Some((worker, event)) = pool.next_event() {
///     assert!(worker < 3 && matches!(event, Event::Done { .. }));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<Tag, L: Launch, const N: usize, const SLOTS: usize = 64, const BYTES: usize = 32768>
{
    /// Most requests in flight per worker. Further ones are rejected ([`Why::Full`]). With 1, only
    /// an idle worker accepts a request. With more, requests wait in a worker's queue. The default
    /// is `SLOTS`.
    pub depth: usize,
    workers: [Worker<Tag, L, SLOTS, BYTES>; N],
    epoll: OwnedFd,
    /// The worker whose events are taken next. It rotates, so that no worker always comes last.
    next: usize,
}

/// A request of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRequest {
    /// The index of the worker that has it.
    pub worker: usize,
    id: RequestId,
}

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize>
    Pool<Tag, L, N, SLOTS, BYTES>
{
    /// Returns the workers, in order, for their pids, counters and state.
    pub const fn workers(&self) -> &[Worker<Tag, L, SLOTS, BYTES>; N] {
        &self.workers
    }

    /// Returns whether [`try_call`](Self::try_call) would accept a request without a key, of up to
    /// a quarter of `BYTES` and without descriptors.
    pub fn has_room(&self) -> bool {
        let worker = self.workers.get(self.idlest(BYTES / 4, 0, false));
        worker.is_some_and(|worker| self.has_place(worker) && worker.has_room())
    }

    /// Returns whether [`try_call`](Self::try_call) would accept such a request with a block; see
    /// [`Worker::has_block`].
    pub fn has_block(&self) -> bool {
        let worker = self.workers.get(self.idlest(BYTES / 4, 0, true));
        worker.is_some_and(|it| self.has_place(it) && it.has_room() && it.has_block())
    }

    /// Accepts a request at once or not at all, as [`Worker::try_call`] does.
    ///
    /// # Errors
    /// The request was not accepted. [`Why::Full`] if no worker has room, or the worker of the key
    /// has none; see [`depth`](Self::depth). [`Why::Stopped`] if no worker is left that could take
    /// it.
    pub fn try_call(&mut self, call: Call<'_>, tag: Tag) -> Result<PoolRequest, NotTaken<Tag>> {
        let worker = self.index_for(&call);
        let Some(chosen) = self.with_place(worker) else {
            return Err(NotTaken { tag, why: Why::Full });
        };
        let id = chosen.try_call(call, tag)?;
        Ok(PoolRequest { worker, id })
    }

    /// Accepts a one-way request at once or not at all, as [`Worker::try_send`] does.
    ///
    /// # Errors
    /// As [`try_call`](Self::try_call).
    pub fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>> {
        let chosen = self.with_place(self.index_for(&call));
        chosen.ok_or(NotTaken { tag: (), why: Why::Full })?.try_send(call)
    }

    /// Cancels a request, as [`Worker::cancel`] does.
    pub fn cancel(&mut self, request: PoolRequest) -> bool {
        self.workers.get_mut(request.worker).is_some_and(|worker| worker.cancel(request.id))
    }

    /// Kills one worker, as [`Worker::kill`] does. An invalid index is ignored.
    pub fn kill(&mut self, worker: usize) {
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.kill();
        }
    }

    /// Restarts a worker that was given up, as [`Worker::revive`] does.
    pub fn revive(&mut self, worker: usize) -> bool {
        self.workers.get_mut(worker).is_some_and(Worker::revive)
    }

    /// Returns the latest time to call [`turn`](Self::turn); see [`Worker::next_deadline`].
    pub fn next_deadline(&self) -> Option<Instant> {
        self.workers.iter().filter_map(Worker::next_deadline).min()
    }

    /// Does all I/O of the workers that have some, a bounded amount per call. Never waits. Returns
    /// whether there may be more to do at once; see [`Worker::turn`].
    pub fn turn(&mut self, now: Instant) -> bool {
        let mut ready = [Ready { flags: EventFlags::empty(), data: EventData::new_u64(0) }; N];
        let asked = epoll::wait(&self.epoll, &mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        // If this fails, every worker gets a turn.
        let shown = asked.map_or(u64::MAX, |count| {
            let shown = ready.iter().take(count);
            shown.fold(0, |set, event| set | 1_u64 << (event.data.u64() % 64))
        });
        let mut has_more = false;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let is_shown = shown & 1_u64 << (index % 64) != 0;
            if is_shown || worker.next_deadline().is_some_and(|next| next <= now) {
                has_more |= worker.turn(now);
            }
        }
        has_more
    }

    /// Returns the next event and the index of its worker; see [`Worker::next_event`].
    pub fn next_event(&mut self) -> Option<(usize, Event<'_, Tag>)> {
        for step in 0..N {
            let index = (self.next + step) % N;
            let Some(found) = self.workers.get_mut(index).and_then(Worker::find) else { continue };
            self.next = (index + 1) % N;
            return Some((index, self.workers.get_mut(index)?.show(found)?));
        }
        None
    }

    /// Makes a call and waits for its outcome, as [`Worker::call_until`] does. The closure gets all
    /// events that arrive, each with the index of its worker.
    ///
    /// # Errors
    /// The request was not accepted, perhaps because all workers were busy until the deadline.
    pub fn call_until(
        &mut self,
        call: Call<'_>,
        tag: Tag,
        deadline: Instant,
        mut on_event: impl FnMut(usize, Event<'_, Tag>),
    ) -> Result<(), NotTaken<Tag>> {
        let deadline = call.deadline.map_or(deadline, |own| own.min(deadline));
        let (call, mut tag) = (call.deadline(deadline), tag);
        let request = loop {
            match self.try_call(call, tag) {
                Ok(request) => break request,
                Err(error) if error.why != Why::Full || Instant::now() >= deadline => {
                    return Err(error);
                }
                Err(error) => tag = error.tag,
            }
            self.go_on(deadline, &mut on_event);
        };
        while self.workers.get(request.worker).is_some_and(|worker| worker.holds(request.id)) {
            self.go_on(deadline, &mut on_event);
        }
        Ok(())
    }

    /// Stops all workers, as [`Worker::stop`] does. The closure gets every outcome, with the index
    /// of its worker.
    pub fn stop(&mut self, deadline: Instant, mut on_event: impl FnMut(usize, Event<'_, Tag>)) {
        let is_busy =
            |worker: &Worker<Tag, L, SLOTS, BYTES>| worker.is_running() && worker.load() > 0;
        while self.workers.iter().any(is_busy) && Instant::now() < deadline {
            self.go_on(deadline, &mut on_event);
        }
        for (index, worker) in self.workers.iter_mut().enumerate() {
            worker.stop(deadline, |event| on_event(index, event));
        }
    }

    /// Waits for something to do, at most until the deadline, does it, and passes the events to the
    /// closure.
    fn go_on(&mut self, deadline: Instant, on_event: &mut impl FnMut(usize, Event<'_, Tag>)) {
        let wake = self.next_deadline().map_or(deadline, |next| next.min(deadline));
        // If the wait fails, the turn is early, which is harmless.
        _ = wait(&mut [Watched::new(self.epoll.as_fd(), Interest::Input)], Some(wake));
        self.turn(Instant::now());
        while let Some((worker, event)) = self.next_event() {
            on_event(worker, event);
        }
    }

    fn index_for(&self, call: &Call<'_>) -> usize {
        let of_key = |key: u64| usize::try_from(key % N as u64).unwrap_or(0);
        let len = call.body.encoded_len().unwrap_or(0);
        call.key.map_or_else(|| self.idlest(len, call.fds.len(), call.block.is_some()), of_key)
    }

    /// Returns the worker for a request without a key: the least busy of those that serve, and that
    /// have room for it, and a block if it needs one.
    fn idlest(&self, len: usize, fd_count: usize, needs_block: bool) -> usize {
        let order = |&index: &usize| {
            self.workers.get(index).map(|worker| {
                let takes_it = worker.takes(len, fd_count, needs_block);
                (worker.readiness(), !takes_it, worker.load())
            })
        };
        (0..N).min_by_key(order).unwrap_or(0)
    }

    /// Returns whether a worker may have another request by the pool's depth.
    fn has_place(&self, worker: &Worker<Tag, L, SLOTS, BYTES>) -> bool {
        let has_place = !worker.is_running() || worker.load() < self.depth;
        if !has_place {
            // What was given up leaves its place without an event.
            worker.lacks_room();
        }
        has_place
    }

    fn with_place(&mut self, worker: usize) -> Option<&mut Worker<Tag, L, SLOTS, BYTES>> {
        let has_place = self.workers.get(worker).is_some_and(|worker| self.has_place(worker));
        self.workers.get_mut(worker).filter(|_| has_place)
    }

    /// Watches a new worker.
    fn watch(epoll: &OwnedFd, fd: BorrowedFd<'_>, index: usize) -> Result<(), SystemError> {
        let data = EventData::new_u64(index as u64);
        epoll::add(epoll, fd, data, EventFlags::IN).map_err(SystemError::of("epoll_ctl"))
    }
}

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> AsFd
    for Pool<Tag, L, N, SLOTS, BYTES>
{
    /// Returns the descriptor to watch for reading. It stays the same for the pool's whole life.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl<Tag, L: Launch, const N: usize, const SLOTS: usize, const BYTES: usize> fmt::Debug
    for Pool<Tag, L, N, SLOTS, BYTES>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("depth", &self.depth).field("workers", &self.workers).finish()
    }
}
