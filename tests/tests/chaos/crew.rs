//! One worker or a pool, behind one interface.

#![expect(unsafe_code, reason = "rustix has no getrusage")]

use std::os::fd::AsFd;
use std::slice;

use ipc_worker::{Call, Event, Instant, Launch, NotTaken, Pool, PoolRequest, RequestId, Worker};

use crate::{BYTES, SLOTS};

/// Workers that share the load.
pub(crate) trait Crew: AsFd {
    type Launch: Launch;
    type Id: Copy;

    fn workers(&self) -> &[Worker<u32, Self::Launch, SLOTS, BYTES>];
    fn try_call(&mut self, call: Call<'_>, tag: u32) -> Result<Self::Id, NotTaken<u32>>;
    fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>>;
    fn cancel(&mut self, id: Self::Id) -> bool;
    fn kill(&mut self, worker: usize);
    fn turn(&mut self, now: Instant) -> bool;
    fn next_event(&mut self) -> Option<(usize, Event<'_, u32>)>;
    fn next_deadline(&self) -> Option<Instant>;
    fn stop(&mut self, deadline: Instant, on_event: impl FnMut(Event<'_, u32>));

    /// Requests and one-ways that are in progress.
    fn in_use(&self) -> usize {
        self.workers().iter().map(|it| it.under_way() + it.one_ways_under_way()).sum()
    }

    /// The worker processes.
    fn pids(&self) -> Vec<Option<i32>> {
        self.workers().iter().map(Worker::pid).collect()
    }
}

impl<L: Launch> Crew for Worker<u32, L, SLOTS, BYTES> {
    type Launch = L;
    type Id = RequestId;

    fn workers(&self) -> &[Self] {
        slice::from_ref(self)
    }

    fn try_call(&mut self, call: Call<'_>, tag: u32) -> Result<RequestId, NotTaken<u32>> {
        Self::try_call(self, call, tag)
    }

    fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>> {
        Self::try_send(self, call)
    }

    fn cancel(&mut self, id: RequestId) -> bool {
        Self::cancel(self, id)
    }

    fn kill(&mut self, _: usize) {
        Self::kill(self);
    }

    fn turn(&mut self, now: Instant) -> bool {
        Self::turn(self, now)
    }

    fn next_event(&mut self) -> Option<(usize, Event<'_, u32>)> {
        Self::next_event(self).map(|event| (0, event))
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }

    fn stop(&mut self, deadline: Instant, on_event: impl FnMut(Event<'_, u32>)) {
        Self::stop(self, deadline, on_event);
    }
}

impl<L: Launch, const N: usize> Crew for Pool<u32, L, N, SLOTS, BYTES> {
    type Launch = L;
    type Id = PoolRequest;

    fn workers(&self) -> &[Worker<u32, L, SLOTS, BYTES>] {
        Self::workers(self)
    }

    fn try_call(&mut self, call: Call<'_>, tag: u32) -> Result<PoolRequest, NotTaken<u32>> {
        Self::try_call(self, call, tag)
    }

    fn try_send(&mut self, call: Call<'_>) -> Result<(), NotTaken<()>> {
        Self::try_send(self, call)
    }

    fn cancel(&mut self, id: PoolRequest) -> bool {
        Self::cancel(self, id)
    }

    fn kill(&mut self, worker: usize) {
        Self::kill(self, worker);
    }

    fn turn(&mut self, now: Instant) -> bool {
        Self::turn(self, now)
    }

    fn next_event(&mut self) -> Option<(usize, Event<'_, u32>)> {
        Self::next_event(self)
    }

    fn next_deadline(&self) -> Option<Instant> {
        Self::next_deadline(self)
    }

    fn stop(&mut self, deadline: Instant, mut on_event: impl FnMut(Event<'_, u32>)) {
        Self::stop(self, deadline, |_, event| on_event(event));
    }
}

/// Returns how often this process has slept: `ru_nvcsw` of getrusage(2).
pub(crate) fn sleeps() -> u64 {
    // SAFETY: all zeroes is a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes into the variable.
    let result = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(result, 0, "getrusage");
    u64::try_from(usage.ru_nvcsw).unwrap()
}
