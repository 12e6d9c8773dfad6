//! Requests that end without an answer: cancelled, late, or lost with their worker.

use ipc_frame::FrameNumber;
use ipc_transport::{Instant, SystemError};

use super::Caller;
use crate::counters::add;
use crate::ledger::{Ending, Fate, How, RequestId, UnderWay, Words};

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Gives a request up; returns false where it has its outcome already.
    pub(crate) fn cancel(&mut self, id: RequestId, words: Option<Words<'_>>) -> bool {
        let request = self.table.get(id);
        if let Some(request) = &request {
            self.take_back(id, request, words);
            self.end(id, request, Ending::Cancelled);
        }
        request.is_some()
    }

    /// Ends the requests whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, words: Option<Words<'_>>) {
        let mut from = 0;
        while let Some(id) = self.table.next_expired(now, &mut from) {
            let Some(request) = self.table.get(id) else { continue };
            let how = self.take_back(id, &request, words);
            if request.is_one_way && how > How::NotBegun {
                // The worker will still tell of it, and then its room is free.
                self.table.let_run(id);
                add(&mut self.counters.one_ways_expired, 1);
            } else {
                self.end(id, &request, Ending::DeadlinePassed);
            }
        }
    }

    /// Reads each request's fate from the words of a worker that is gone: it is kept for the next
    /// one, or it ends here. Returns how many that had been sent are kept.
    pub(crate) fn settle_fates(&mut self, words: Words<'_>) -> usize {
        let mut resent = 0;
        self.for_each(|caller, id, request| {
            let was_sent = caller.outbox.is_begun(request.frame);
            let how = caller.take_back(id, request, Some(words));
            match Fate::of(request, how, was_sent) {
                Fate::Resend if request.is_late => caller.free(id, request.frame),
                Fate::Resend => {
                    caller.table.note_lost(id, how);
                    resent += usize::from(was_sent);
                }
                Fate::End(ending) => caller.end(id, request, ending),
            }
        });
        resent
    }

    /// Ends every request: there is no next worker. The words are those of the last one.
    pub(crate) fn lose_all(&mut self, words: Option<Words<'_>>) {
        self.for_each(|caller, id, request| {
            let how = caller.take_back(id, request, words);
            caller.end(id, request, Ending::Lost(how.max(request.reached)));
        });
    }

    /// Ends what was run in line and could not be settled.
    pub(crate) fn lose_sent(&mut self) {
        self.for_each_sent(|caller, id, request| {
            caller.end(id, request, Ending::Lost(How::Done));
        });
    }

    /// Ends the request that is next to be sent, which a handler in line has not come back from.
    pub(crate) fn lose_next(&mut self) {
        let next = self.outbox.next_unsent().and_then(|frame| self.request_at(frame));
        if let Some((id, request)) = next {
            self.end(id, &request, Ending::Lost(How::Running));
        }
    }

    /// Frees the one-way requests that were run in line and are settled.
    pub(crate) fn free_sent(&mut self) {
        self.for_each_sent(|caller, id, request| {
            if request.is_one_way {
                caller.free(id, request.frame);
            }
        });
    }

    /// Ends the request that is next to be sent, if it has descriptors, which cannot be passed.
    /// Returns whether there was one.
    pub(crate) fn unsendable(&mut self, error: SystemError) -> bool {
        let next = self.outbox.next_unsent().filter(|&frame| {
            self.outbox.frame(frame).is_some_and(|(header, _)| header.fd_count() > 0)
        });
        let request = next.and_then(|frame| self.request_at(frame));
        if let Some((id, request)) = &request {
            self.end(*id, request, Ending::Unsendable(error));
        }
        request.is_some()
    }

    /// Begins anew for another worker: all that is kept is sent to it, in order.
    pub(crate) fn begin_anew(&mut self) {
        self.inbox.reset();
        self.outbox.rewind();
    }

    /// Offers all that is kept to a new worker.
    pub(crate) fn offer_all(&mut self, words: Words<'_>) {
        self.for_each(|_, id, _| words.offer(id));
    }

    /// Ends a request that the worker does not answer any more.
    pub(super) fn end(&mut self, id: RequestId, request: &UnderWay, ending: Ending) {
        if request.is_one_way {
            let count = match ending {
                _ if request.is_late => &mut 0,
                Ending::DeadlinePassed | Ending::Cancelled => &mut self.counters.one_ways_expired,
                _ => &mut self.counters.one_ways_lost,
            };
            add(count, 1);
            self.free(id, request.frame);
            return;
        }
        match ending {
            // What is given back keeps its bytes until it is told.
            Ending::Lost(_) | Ending::SetAside(_) => self.outbox.withdraw(request.frame),
            _ => self.outbox.retire(request.frame),
        }
        self.table.end(id, ending);
    }

    /// Takes a request back from the worker. What was never sent cannot have begun, whatever the
    /// words say.
    fn take_back(&self, id: RequestId, request: &UnderWay, words: Option<Words<'_>>) -> How {
        match words.filter(|_| self.outbox.is_begun(request.frame)) {
            Some(words) => words.take_back(id),
            None => How::NotBegun,
        }
    }

    /// Returns the request under way that a frame carries.
    pub(super) fn request_at(&self, frame: FrameNumber) -> Option<(RequestId, UnderWay)> {
        let id = RequestId::from_wire(self.outbox.id(frame)?)?;
        Some((id, self.table.get(id)?))
    }

    /// Visits the requests under way in the order in which they were taken.
    fn for_each(&mut self, mut visit: impl FnMut(&mut Self, RequestId, &UnderWay)) {
        let mut next = self.outbox.first();
        while let Some(frame) = next {
            if let Some((id, request)) = self.request_at(frame) {
                visit(self, id, &request);
            }
            next = self.outbox.next_after(frame);
        }
    }

    /// Visits those that were sent.
    fn for_each_sent(&mut self, mut visit: impl FnMut(&mut Self, RequestId, &UnderWay)) {
        self.for_each(|caller, id, request| {
            if caller.outbox.is_sent(request.frame) {
                visit(caller, id, request);
            }
        });
    }
}
