//! Requests that end without an answer: cancelled, late, or lost with their worker.

use ipc_frame::FrameNumber;
use ipc_transport::Instant;

use super::Caller;
use crate::counters::add;
use crate::ledger::{BrokenWord, Ending, How, RequestId, UnderWay, Words};

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Gives a request up; returns false where it has its outcome already.
    pub(crate) fn cancel(&mut self, id: RequestId, words: Words<'_>) -> bool {
        let request = self.table.get(id);
        if let Some(request) = &request {
            self.take_back(request, words);
            self.end(request, Ending::Cancelled);
        }
        request.is_some()
    }

    /// Ends the requests whose deadline has passed. Each turn asks for it, mostly in vain.
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
            let how = self.take_back(&request, words);
            if request.is_one_way && how > How::NotBegun {
                // The worker will still tell of it, and then its room is free.
                if let Some(entry) = self.table.entry(&request) {
                    (entry.deadline, entry.is_late) = (Instant::NEVER, true);
                }
                add(&mut self.last.counters.one_ways_expired, 1);
            } else {
                self.end(&request, Ending::DeadlinePassed);
            }
        }
    }

    /// Reads each request's fate from the words of a worker that is gone: it is kept for the next
    /// one, or it ends here. Returns how many that had been sent are kept.
    pub(crate) fn settle_fates(&mut self, words: Words<'_>) -> usize {
        let mut resent = 0;
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            let was_sent = self.outbox.is_begun(request.frame);
            let how = self.take_back(&request, words);
            let entry = self.table.entry(&request);
            match entry.and_then(|entry| entry.fate(how, was_sent)) {
                Some(ending) => self.end(&request, ending),
                None => resent += usize::from(was_sent),
            }
        }
        resent
    }

    /// Ends every request: no worker follows. The words are those of the last one.
    pub(crate) fn lose_all(&mut self, words: Words<'_>) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            let how = self.take_back(&request, words);
            self.end(&request, Ending::Lost(how.max(request.reached)));
        }
    }

    /// Ends what was run in line and could not be settled.
    pub(crate) fn lose_sent(&mut self) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            if self.outbox.is_sent(request.frame) {
                self.end(&request, Ending::Lost(How::Done));
            }
        }
    }

    /// Ends the request that is next to be sent, if it has at least so many descriptors. Returns
    /// whether there was one.
    pub(crate) fn end_next(&mut self, fd_count: u16, ending: Ending) -> bool {
        let next = self.outbox.next_unsent().map(|(_, frame)| *frame.header());
        let next = next.filter(|header| header.fd_count() >= fd_count);
        let request = next.and_then(|header| self.find(header.id()));
        if let Some(request) = &request {
            self.end(request, ending);
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
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            words.offer(request.id);
        }
    }

    /// Ends a request whose outcome is told later, or a one-way, which is only counted. A late one
    /// was counted before.
    pub(super) fn end(&mut self, request: &UnderWay, ending: Ending) {
        if request.is_one_way {
            let counters = &mut self.last.counters;
            let count = match ending {
                Ending::DeadlinePassed => &mut counters.one_ways_expired,
                Ending::Refused => &mut counters.one_ways_refused,
                _ => &mut counters.one_ways_lost,
            };
            add(count, u64::from(!request.is_late));
            return self.free(request);
        }
        match ending {
            // What is given back keeps its bytes until it is told.
            Ending::Lost(_) | Ending::SetAside(_) => self.outbox.withdraw(request.frame),
            _ => self.outbox.retire(request.frame),
        }
        self.table.end(request, ending);
    }

    /// Takes a request back from the worker. What was never sent cannot have begun, whatever the
    /// words say.
    fn take_back(&mut self, request: &UnderWay, words: Words<'_>) -> How {
        let words = if self.outbox.is_begun(request.frame) { words } else { Words::default() };
        words.take_back(request.id).unwrap_or_else(|BrokenWord| {
            add(&mut self.last.counters.broken_words, 1);
            How::Running
        })
    }

    /// Returns the request under way that an id from a frame names.
    pub(super) fn find(&self, id: u64) -> Option<UnderWay> {
        self.table.get(RequestId::from_wire(id)?)
    }

    /// Returns the first request under way from a frame on, in the order in which they were
    /// taken, and goes on to the frame after it.
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
