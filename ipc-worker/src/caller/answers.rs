//! What comes back from the worker: answers to requests, and word that one-way requests are done.

use core::fmt;

use ipc_frame::{FrameNumber, Header, Kind};
use ipc_transport::InboxError;

use super::{Answer, Caller};
use crate::counters::add;
use crate::event::{Lost, Outcome, ReplyView};
use crate::ledger::{Ending, How, RequestId, UnderWay};
use crate::refusal::Refusal;

/// The worker does not keep the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl From<InboxError> for Broken {
    fn from(_: InboxError) -> Self {
        Self
    }
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Returns whether there is an outcome to tell, or a frame to look at.
    pub(crate) fn has_answer(&self) -> bool {
        self.inbox.has_frame() || self.table.ended() > 0
    }

    /// Finds the next answer to a request that was sent. Frames that answer none are counted.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Answer<Tag>>, Broken> {
        while let Some(header) = self.inbox.advance()? {
            let id = RequestId::from_wire(header.id());
            let asked = id.and_then(|id| Some((id, self.table.get(id)?)));
            let asked = asked.filter(|(_, request)| self.outbox.is_sent(request.frame));
            let Some((id, request)) = asked else {
                self.count_stray(&header);
                continue;
            };
            match (header.kind(), request.is_one_way) {
                (Kind::Done, true) => self.free_one_ways(request.frame),
                (Kind::Refusal, true) => self.refuse_one_way(header.id()),
                (Kind::Reply | Kind::Refusal, false) => {
                    return self.answered(&header, id, &request).map(Some);
                }
                _ => self.count_stray(&header),
            }
        }
        Ok(None)
    }

    fn answered(
        &mut self,
        header: &Header,
        id: RequestId,
        request: &UnderWay,
    ) -> Result<Answer<Tag>, Broken> {
        if header.fd_count() > request.reply_fds {
            add(&mut self.counters.stray_fds, header.fd_count().into());
            return Err(Broken);
        }
        let tag = self.table.finish(id).ok_or(Broken)?;
        self.last.id = Some(id);
        self.outbox.retire(request.frame);
        Ok(match header.kind() {
            Kind::Refusal => Answer::Refused(tag, Refusal::decode(self.inbox.current().payload)),
            _ => Answer::Reply(tag),
        })
    }

    /// Counts a frame that answers no request under way.
    fn count_stray(&mut self, header: &Header) {
        add(&mut self.counters.stray_replies, 1);
        add(&mut self.counters.stray_fds, header.fd_count().into());
    }

    /// Ends a one-way request that the handler has refused.
    pub(crate) fn refuse_one_way(&mut self, id: u64) {
        let id = RequestId::from_wire(id);
        if let Some((id, request)) = id.and_then(|id| Some((id, self.table.get(id)?))) {
            add(&mut self.counters.one_ways_refused, u64::from(!request.is_late));
            self.free(id, request.frame);
        }
    }

    /// Gives back the room of one-way requests, up to the one that the worker has finished last: it
    /// runs all in their order.
    fn free_one_ways(&mut self, last: FrameNumber) {
        let mut next = self.outbox.first();
        while let Some(frame) = next {
            next = self.outbox.next_after(frame).filter(|_| frame != last);
            if let Some((id, request)) = self.request_at(frame) {
                if request.is_one_way {
                    self.free(id, frame);
                }
            }
        }
    }

    /// Gives the room of a one-way request back.
    pub(super) fn free(&mut self, id: RequestId, frame: FrameNumber) {
        self.outbox.retire(frame);
        self.table.finish(id);
        self.regained = true;
    }

    /// Gives the next outcome that main itself came to.
    pub(crate) fn next_ended(&mut self) -> Option<Answer<Tag>> {
        let told = self.table.next_ended()?;
        self.last.id = Some(told.id);
        if matches!(told.ending, Ending::Lost(_) | Ending::SetAside(_)) {
            self.last.frame = Some(told.frame);
            self.outbox.take_fds_of_withdrawn(told.frame, &mut self.last.fds.fds());
        }
        Some(Answer::Ended(told.tag, told.ending))
    }

    /// Returns the outcome of the answer that was found last, with what belongs to it.
    pub(crate) fn outcome(&mut self, answer: Answer<Tag>) -> (Tag, Outcome<'_>) {
        match answer {
            Answer::Refused(tag, refusal) => (tag, Outcome::Refused(refusal)),
            Answer::Reply(tag) => {
                let arrival = self.inbox.current();
                let (payload, fds, fds_lost) = (arrival.payload, arrival.fds, arrival.fds_lost);
                (tag, Outcome::Reply(ReplyView { payload, fds, fds_lost }))
            }
            Answer::Ended(tag, ending) => (
                tag,
                match ending {
                    Ending::Lost(how) => Outcome::Lost(self.given_back(how)),
                    Ending::SetAside(how) => Outcome::SetAside(self.given_back(how)),
                    Ending::Unsendable(error) => Outcome::Unsendable(error),
                    Ending::DeadlinePassed => Outcome::DeadlinePassed,
                    Ending::Cancelled => Outcome::Cancelled,
                },
            ),
        }
    }

    fn given_back(&mut self, how: How) -> Lost<'_> {
        let frame = self.last.frame.and_then(|frame| self.outbox.frame(frame));
        let (method, bytes) =
            frame.map_or((0, &[][..]), |(header, bytes)| (header.method(), bytes));
        Lost { how, method, bytes, fds: self.last.fds.fds() }
    }
}

impl<Tag, const SLOTS: usize, const BYTES: usize> fmt::Debug for Caller<Tag, SLOTS, BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("under_way", &self.table.under_way())
            .field("untold", &self.table.ended())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
