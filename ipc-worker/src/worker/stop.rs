//! The end of a worker that is not needed any more: nothing lost, nobody left behind.

use core::mem;

use ipc_barrier::{Child, Ended};
use ipc_transport::Instant;

use crate::event::Event;
use crate::handler::Handler;
use crate::worker::Worker;
use crate::worker::leave::GRACE;
use crate::worker::life::{Phase, Process};

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Stops the worker: no new requests, every outcome given to the closure, the process ended
    /// and reaped. It returns how that ended, `None` where there was no process.
    ///
    /// A worker that dies meanwhile is restarted as long as requests are under way. At the
    /// deadline it is killed and what is left is lost. A process that even then does not end,
    /// in uninterruptible sleep, is left after 0.2 s: [`Ended::Unknown`].
    pub fn stop(
        &mut self,
        deadline: Instant,
        mut on_event: impl FnMut(Event<'_, Tag>),
    ) -> Option<Ended> {
        self.stopping = true;
        self.tell_all(None, &mut on_event);
        while self.under_way() > 0 && self.is_running() && Instant::now() < deadline {
            self.wait_turn(deadline);
            self.tell_all(None, &mut on_event);
        }
        let ended = match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(process) => Some(self.end_process(process, deadline, &mut on_event)),
            Phase::Leaving(leaving) => {
                Some(self.end_process(leaving.process, Instant::now(), &mut on_event))
            }
            Phase::Starting { mut process, .. } => {
                Some(end_child(&mut process.child, Instant::now()))
            }
            Phase::Inline { .. } | Phase::Resting { .. } | Phase::Stopped => None,
        };
        self.lose_all();
        self.tell_all(None, &mut on_event);
        ended
    }

    fn end_process(
        &mut self,
        mut process: Process,
        deadline: Instant,
        on_event: &mut impl FnMut(Event<'_, Tag>),
    ) -> Ended {
        let deadline = if self.under_way() == 0 { deadline } else { Instant::now() };
        // A worker that is gone already needs no word.
        _ = process.stream.close_sending();
        let ended = end_child(&mut process.child, deadline);
        // Its last words: no more than the socket holds.
        while let Ok(Some(_)) = self.inbox.receive(&mut process.stream) {
            self.tell_all(None, on_event);
        }
        self.settle_fates(&process.slots, true);
        if ended == Ended::Unknown {
            self.put_aside(process.child);
        }
        ended
    }
}

/// Waits for a child that knows that it shall end; kills it at the deadline.
fn end_child(child: &mut Child, deadline: Instant) -> Ended {
    if let Ok(ended) = child.wait_until(deadline) {
        return ended;
    }
    // What cannot be killed is left, as `stop` says.
    _ = child.kill();
    child.wait_until(Instant::now() + GRACE).unwrap_or(Ended::Unknown)
}
