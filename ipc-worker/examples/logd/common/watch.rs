//! Who looks on while a daemon works, for measurements.

use ipc_transport::Instant;
use ipc_worker::{Counters, Event};

use super::ledger::{Counts, Tag};

/// Takes note of what happens. Nothing is asked of it.
pub(crate) trait Watch {
    /// When [`tick`](Self::tick) is due, also if nothing happens until then.
    fn next_tick(&self) -> Instant {
        Instant::NEVER
    }

    fn tick(&mut self, _now: Instant, _counts: &Counts, _counters: &Counters) {}

    /// The worker has started; `worker` is its process.
    fn ready(&mut self, _now: Instant, _worker: i32) {}

    /// Something became of a request or of a worker; `worker` is the process that there is now.
    fn note(&mut self, _event: &Event<'_, Tag>, _worker: Option<i32>) {}

    fn end(&mut self, _now: Instant, _counts: &Counts, _counters: &Counters) {}
}
