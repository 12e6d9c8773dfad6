//! An observer of a daemon, for measurements.

use ipc_transport::Instant;
use ipc_worker::{Counters, Event};

use super::ledger::{Counts, Tag};

/// Observes what happens in the daemon. Every method has a default.
pub(crate) trait Watch {
    /// Returns when [`tick`](Self::tick) is due, even if nothing happens until then.
    fn next_tick(&self) -> Instant {
        Instant::NEVER
    }

    fn tick(&mut self, _now: Instant, _counts: &Counts, _counters: &Counters) {}

    /// The worker has started, with this pid.
    fn ready(&mut self, _now: Instant, _worker: i32) {}

    /// Something happened to a request or to a worker. `worker` is the pid of the current worker.
    fn note(&mut self, _event: &Event<'_, Tag>, _worker: Option<i32>) {}

    fn end(&mut self, _now: Instant, _counts: &Counts, _counters: &Counters) {}
}
