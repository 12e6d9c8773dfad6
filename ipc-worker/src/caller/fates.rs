//! Requests that end without an answer: cancelled, late, or lost with their worker.

use ipc_frame::FrameNumber;
use ipc_transport::Instant;

use super::Caller;
use crate::counters::add;
use crate::ledger::{BrokenWord, Ending, How, RequestId, UnderWay, Words};

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Cancels a request. Returns false if it already has its outcome.
    pub(crate) fn cancel(&mut self, id: RequestId, words: Words<'_>) -> bool {
        let request = self.table.get(id);
        if let Some(request) = &request {
            let how = self.give_up(request, words);
            self.end(request, Ending::Cancelled(how));
        }
        request.is_some()
    }

    /// Takes a request back while its worker goes on.
    fn give_up(&mut self, request: &UnderWay, words: Words<'_>) -> How {
        let how = self.take_back(request, words);
        // One that is done waits for the end of its batch. The one that runs matters more.
        if how == How::Running || how == How::Done && self.last.given_up.is_none() {
            self.last.given_up = Some(*request);
        }
        how
    }

    /// Ends the requests whose deadline has passed. Called on each turn, so it must be cheap.
    #[inline]
    pub(crate) fn expire(&mut self, now: Instant, words: Words<'_>) {
        if now >= self.last.earliest {
            self.expire_due(now, words);
        }
    }

    fn expire_due(&mut self, now: Instant, words: Words<'_>) {
        self.last.earliest = Instant::NEVER;
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            if request.deadline > now {
                self.last.earliest = self.last.earliest.min(request.deadline);
                continue;
            }
            if !request.is_one_way {
                let how = self.give_up(&request, words);
                self.end(&request, Ending::DeadlinePassed(how));
            } else if self.take_back(&request, words) > How::NotBegun {
                // The worker will still report it, which frees its room.
                if let Some(entry) = self.table.entry(&request) {
                    (entry.deadline, entry.is_late) = (Instant::NEVER, true);
                }
                add(&mut self.last.counters.one_ways_expired, 1);
            } else {
                self.end(&request, Ending::DeadlinePassed(How::NotBegun));
            }
        }
    }

    /// Reads each request's fate from the words of a worker that is gone. The request is kept for
    /// the next one, or ends here.
    pub(crate) fn settle_fates(&mut self, words: Words<'_>) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            let was_sent = self.outbox.is_begun(request.frame);
            let how = self.take_back(&request, words);
            let entry = self.table.entry(&request);
            if let Some(ending) = entry.and_then(|entry| entry.fate(how, was_sent)) {
                self.end(&request, ending);
            }
        }
    }

    /// Returns how many requests in flight were sent to a worker that is gone.
    pub(crate) fn resent(&self) -> usize {
        let mut at = self.outbox.first();
        let kept = core::iter::from_fn(|| self.outbox.frame(self.next_under_way(&mut at)?.frame));
        kept.filter(|frame| frame.header().is_resent()).count()
    }

    /// Ends every request, because no worker follows. The words are those of the last one.
    pub(crate) fn lose_all(&mut self, words: Words<'_>) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            let how = self.take_back(&request, words);
            self.end(&request, Ending::Lost(how.max(request.reached)));
        }
    }

    /// Ends the requests that ran inline and could not be settled.
    pub(crate) fn lose_sent(&mut self) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            if self.outbox.is_sent(request.frame) {
                self.end(&request, Ending::Lost(How::Done));
            }
        }
    }

    /// Ends the next request to be sent, if it has at least `fd_count` descriptors. Returns whether
    /// there was one.
    pub(crate) fn end_next(&mut self, fd_count: u16, ending: Ending) -> bool {
        let next = self.outbox.next_unsent().map(|(_, frame)| *frame.header());
        let next = next.filter(|header| header.fd_count() >= fd_count);
        let request = next.and_then(|header| self.find(header.id()));
        if let Some(request) = &request {
            self.end(request, ending);
        }
        request.is_some()
    }

    /// Starts over with another worker: all kept requests will be sent to it, in order.
    pub(crate) fn begin_anew(&mut self) {
        self.inbox.reset();
        self.outbox.rewind();
        self.last.given_up = None;
    }

    /// Offers all kept requests to a new worker.
    pub(crate) fn offer_all(&mut self, words: Words<'_>) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            words.offer(request.id);
        }
    }

    /// Ends a request whose outcome is reported later, or a one-way, which is only counted. A late
    /// one was counted before.
    pub(super) fn end(&mut self, request: &UnderWay, ending: Ending) {
        if request.is_one_way {
            let counters = &mut self.last.counters;
            let count = match ending {
                Ending::DeadlinePassed(_) => &mut counters.one_ways_expired,
                Ending::Refused => &mut counters.one_ways_refused,
                _ => &mut counters.one_ways_lost,
            };
            add(count, u64::from(!request.is_late));
            return self.free(request);
        }
        match ending {
            // A request that is given back keeps its bytes until its outcome is reported.
            Ending::Lost(_) | Ending::SetAside(_) => self.outbox.withdraw(request.frame),
            _ => self.outbox.retire(request.frame),
        }
        self.table.end(request, ending);
    }

    /// Takes a request back from the worker. A request that was never sent cannot have begun,
    /// whatever its word says.
    fn take_back(&mut self, request: &UnderWay, words: Words<'_>) -> How {
        let words = if self.outbox.is_begun(request.frame) { words } else { Words::default() };
        words.take_back(request.id).unwrap_or_else(|BrokenWord| {
            add(&mut self.last.counters.broken_words, 1);
            How::Running
        })
    }

    /// Returns the request in flight with this id from a frame.
    pub(super) fn find(&self, id: u64) -> Option<UnderWay> {
        self.table.get(RequestId::from_wire(id)?)
    }

    /// Returns the first request in flight at or after a frame, in the order of acceptance, and
    /// advances to the frame after it.
    pub(super) fn next_under_way(&self, at: &mut Option<FrameNumber>) -> Option<UnderWay> {
        while let Some(frame) = *at {
            *at = self.outbox.next_after(frame);
            let found = self.outbox.id(frame).and_then(|id| self.find(id));
            if found.is_some() {
                return found;
            }
        }
        None
    }
}
