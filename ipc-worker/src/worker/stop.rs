//! The end of a worker that is not needed any more: nothing lost, nobody left behind.

use core::mem;

use heapless::Vec;
use ipc_barrier::{Child, Ended};
use ipc_transport::{Arrived, Instant, Interest, Watched, wait};
use rustix::fd::AsFd;

use crate::event::Event;
use crate::handler::Handler;
use crate::worker::Worker;
use crate::worker::leave::GRACE;
use crate::worker::life::{Phase, Process, SOON};

/// Most descriptors of one frame.
const FDS: usize = ipc_frame::MAX_FDS as usize;

impl<Tag, H: Handler, const SLOTS: usize, const BYTES: usize> Worker<Tag, H, SLOTS, BYTES> {
    /// Stops the worker: no new requests, every outcome given to the closure, one-way requests
    /// done, the process ended and reaped. It returns how that ended, `None` where there was no
    /// process.
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
        while self.has_work() && self.is_running() && Instant::now() < deadline {
            self.caller.ask(self.phase.slots());
            self.wait_turn(deadline);
            self.tell_all(None, &mut on_event);
        }
        let ended = match mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(process) => Some(self.end_process(process, deadline, &mut on_event)),
            Phase::Leaving(leaving) => {
                Some(self.end_process(leaving.process, Instant::now(), &mut on_event))
            }
            Phase::Starting { mut process, .. } => Some(end_child(&mut process.child)),
            Phase::Inline { .. } | Phase::Resting { .. } | Phase::Stopped => None,
        };
        self.caller.lose_all(None);
        self.tell_all(None, &mut on_event);
        ended
    }

    /// Returns whether requests are under way, one-way ones included.
    pub(super) const fn has_work(&self) -> bool {
        self.caller.table.under_way() > 0
    }

    fn end_process(
        &mut self,
        mut process: Process,
        deadline: Instant,
        on_event: &mut impl FnMut(Event<'_, Tag>),
    ) -> Ended {
        let deadline = if self.has_work() { Instant::now() } else { deadline };
        // A worker that is gone already needs no word.
        _ = process.stream.close_sending();
        let ended = match self.await_end(&mut process, deadline, on_event) {
            Some(ended) => ended,
            None => end_child(&mut process.child),
        };
        // Its last words, and no more: another process may hold the socket and write on.
        let mut left = process.stream.waiting();
        while let (1.., Ok(Arrived::Bytes(len))) =
            (left, self.caller.inbox.receive_with(&mut process.stream, FDS))
        {
            left = left.saturating_sub(len);
            self.tell_all(None, on_event);
        }
        self.caller.lose_all(Some(&process.slots));
        self.put_aside(process.child);
        ended
    }

    /// Waits for the process to end, and takes what it still writes: it may wait for that.
    fn await_end(
        &mut self,
        process: &mut Process,
        deadline: Instant,
        on_event: &mut impl FnMut(Event<'_, Tag>),
    ) -> Option<Ended> {
        let mut listens = true;
        loop {
            let ended = process.child.try_wait();
            let now = Instant::now();
            if ended.is_some() || now >= deadline {
                return ended;
            }
            if listens {
                listens = self.caller.inbox.receive_with(&mut process.stream, FDS).is_ok();
                self.tell_all(None, on_event);
            }
            // Where an end shows nowhere, look again soon.
            let soon = if process.child.pidfd().is_some() { deadline } else { now + SOON };
            let input = |fd| Watched::new(fd, Interest::Input);
            let stream = Some(process.stream.as_fd()).filter(|_| listens);
            let fds = [stream, process.child.pidfd()].into_iter().flatten();
            let mut watched: Vec<Watched<'_>, 2> = fds.map(input).collect();
            // Should the wait fail, the look is early, which harms nothing.
            _ = wait(&mut watched, Some(soon.min(deadline)));
        }
    }
}

/// Kills a child, unless it has ended by itself.
fn end_child(child: &mut Child) -> Ended {
    // What cannot be killed is left, as `stop` says.
    _ = child.kill();
    child.wait_until(Instant::now() + GRACE).unwrap_or(Ended::Unknown)
}
