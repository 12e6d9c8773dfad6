//! Frames from the worker: answers, finished one-way requests, and notes.

use ipc_frame::{FrameNumber, Header, Kind};
use ipc_transport::SharedBytes;

use super::{Answer, Caller};
use crate::counters::add;
use crate::event::{Lost, Note, Outcome, ReplyView};
use crate::ledger::{Ending, How, Told, UnderWay};
use crate::refusal::Refusal;

/// The worker violated the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Returns whether there is an outcome to report, or a frame to read.
    pub(crate) fn has_answer(&self) -> bool {
        self.inbox.has_frame() || self.table.has_ended()
    }

    /// Finds the next note or the next answer to a request in flight. Counts stray frames.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Answer<Tag>>, Broken> {
        while let Some(header) = self.inbox.advance().map_err(|_| Broken)? {
            let asked = self.find(header.id());
            let asked = asked.filter(|request| self.outbox.is_sent(request.frame));
            match (header.kind(), asked) {
                (kind @ (Kind::Reply | Kind::Refusal), Some(request)) if !request.is_one_way => {
                    if header.fd_count() > request.reply_fds {
                        add(&mut self.last.counters.stray_fds, header.fd_count().into());
                        return Err(Broken);
                    }
                    self.outbox.retire(request.frame);
                    let is_reply = kind == Kind::Reply;
                    let ending = if is_reply { Ending::Replied } else { Ending::Refused };
                    let tag = self.table.finish(&request);
                    let told = |tag| Answer::Told(Told { tag, ending, frame: request.frame });
                    return Ok(tag.map(told));
                }
                (Kind::Done, Some(request)) if request.is_one_way => {
                    self.free_one_ways(request.frame);
                }
                (Kind::Refusal, Some(request)) if request.is_one_way => {
                    self.end(&request, Ending::Refused);
                }
                (Kind::Note, _) => return Ok(Some(Answer::Note(header))),
                _ => {
                    let id = header.id();
                    self.last.given_up.take_if(|request| request.id.to_wire() == id);
                    add(&mut self.last.counters.stray_replies, 1);
                    add(&mut self.last.counters.stray_fds, header.fd_count().into());
                    // Its handler may have held a block.
                    self.room_is_back();
                }
            }
        }
        Ok(None)
    }

    /// Frees the room of one-way requests up to this one, which the worker finished last. The
    /// worker runs them in order.
    fn free_one_ways(&mut self, last: FrameNumber) {
        let mut at = self.outbox.first();
        while let Some(request) = self.next_under_way(&mut at) {
            if request.is_one_way {
                self.free(&request);
            }
            if request.frame == last {
                break;
            }
        }
    }

    /// Frees the room of a one-way request.
    pub(super) fn free(&mut self, request: &UnderWay) {
        self.table.finish(request);
        self.give_room_back(request.frame);
    }

    /// Returns the outcome that was found last, with its reply or request.
    #[inline]
    pub(crate) fn outcome<'a>(
        &'a mut self,
        told: Told<Tag>,
        block: Option<SharedBytes<'a>>,
    ) -> (Tag, Outcome<'a>) {
        let outcome = match told.ending {
            Ending::Replied => {
                let arrival = self.inbox.current();
                let is_short = arrival.fds_lost.is_some();
                add(&mut self.last.counters.replies_without_fds, is_short.into());
                Outcome::Reply(ReplyView { arrival, block })
            }
            Ending::Refused => Outcome::Refused(Refusal::decode(self.inbox.current().payload)),
            Ending::Lost(how) => Outcome::Lost(self.give_back(told.frame, how, block)),
            Ending::SetAside(how) => Outcome::SetAside(self.give_back(told.frame, how, block)),
            Ending::Unsendable(error) => Outcome::Unsendable(error),
            Ending::DeadlinePassed(_) => Outcome::DeadlinePassed,
            Ending::Cancelled(_) => Outcome::Cancelled,
        };
        (told.tag, outcome)
    }

    /// Returns the note that was found last, and the tag of its request if that is in flight.
    pub(crate) fn note(&mut self, header: Header) -> (Option<&Tag>, Note<'_>) {
        let asked = self.find(header.id()).filter(|asked| self.outbox.is_sent(asked.frame));
        let tag = asked.and_then(|asked| self.table.tag_of(asked.id));
        (tag, Note { number: header.method(), bytes: self.inbox.current().payload })
    }

    fn give_back<'a>(
        &'a mut self,
        frame: FrameNumber,
        how: How,
        block: Option<SharedBytes<'a>>,
    ) -> Lost<'a> {
        self.last.frame = Some(frame);
        self.outbox.take_fds_of_withdrawn(frame, &mut self.last.fds.fds());
        let frame = self.outbox.frame(frame);
        let (method, bytes) =
            frame.map_or((0, &[][..]), |frame| (frame.header().method(), frame.payload()));
        Lost { how, method, bytes, fds: self.last.fds.fds(), block }
    }
}
