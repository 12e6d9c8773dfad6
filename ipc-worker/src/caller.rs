//! Main's side of the traffic: requests in, outcomes out. It names no transport and never waits.

mod one_ways;
#[cfg(test)]
mod tests;

use core::sync::atomic::{AtomicBool, Ordering};

use heapless::Vec;
use ipc_frame::{Encode, FrameNumber, Header, Kind, MAX_FDS};
use ipc_transport::{Inbox, InboxError, Instant, Outbox, duplicate};

use crate::call::{Again, Call, NotTaken, Why};
use crate::counters::{Counters, add};
use crate::event::{Lost, Outcome, ReplyView};
use crate::refusal::Refusal;
use crate::slots::{Finish, RequestId, Slots};
use crate::table::{Ending, Table, UnderWay};

const FDS: usize = MAX_FDS as usize;

/// A worker's requests under way, their frames, and what comes back.
///
/// The words of the worker that has them are an argument, since workers come and go; `None` while
/// there is none.
pub(crate) struct Caller<Tag, const SLOTS: usize, const BYTES: usize> {
    pub(crate) table: Table<Tag, SLOTS>,
    pub(crate) outbox: Outbox<BYTES, SLOTS>,
    pub(crate) inbox: Inbox<BYTES>,
    pub(crate) counters: Counters,
    /// The request that the last outcome was of.
    pub(crate) told: Option<RequestId>,
    /// The program lacks room that one-way requests take. Only main itself looks at it; it is an
    /// atomic since whoever asks for room has the caller only by reference.
    lacks_room: AtomicBool,
    /// Some of that room is back, which no event tells.
    regained: bool,
}

/// An answer that was found, before anything of it is borrowed.
#[derive(Debug)]
pub(crate) enum Answer<Tag> {
    Reply(Tag),
    Refused(Tag, Refusal),
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Bytes of the longest request.
    pub(crate) const CAPACITY: usize = BYTES - Header::SIZE;

    pub(crate) fn new() -> Self {
        Self {
            table: Table::new(),
            outbox: Outbox::new(),
            inbox: Inbox::new(),
            counters: Counters::default(),
            told: None,
            lacks_room: AtomicBool::new(false),
            regained: false,
        }
    }

    /// Returns whether such a request would be taken now. Where it is one-way requests that are in
    /// the way, the worker is asked to tell when they are done.
    pub(crate) fn has_room_for(&self, len: usize, fd_count: usize, slots: Option<&Slots>) -> bool {
        let fits = self.fits(len, fd_count);
        if !fits {
            self.ask(slots);
        }
        fits
    }

    fn fits(&self, len: usize, fd_count: usize) -> bool {
        self.table.next_id().is_some() && self.outbox.has_room_for(len, fd_count)
    }

    /// Takes a request in, and queues it.
    pub(crate) fn call(
        &mut self,
        call: &Call<'_>,
        tag: Tag,
        slots: Option<&Slots>,
    ) -> Result<RequestId, NotTaken<Tag>> {
        match self.push(call, Kind::Request, slots) {
            Ok((id, under_way)) => {
                self.insert(id, Some(tag), under_way, slots);
                Ok(id)
            }
            Err(why) => Err(NotTaken { tag, why }),
        }
    }

    /// Takes a one-way request in, and queues it.
    pub(crate) fn send(
        &mut self,
        call: &Call<'_>,
        slots: Option<&Slots>,
    ) -> Result<RequestId, Why> {
        let (id, under_way) = self.push(call, Kind::OneWay, slots)?;
        self.insert(id, None, under_way, slots);
        Ok(id)
    }

    fn insert(
        &mut self,
        id: RequestId,
        tag: Option<Tag>,
        under_way: UnderWay,
        slots: Option<&Slots>,
    ) {
        self.table.insert(id, tag, under_way);
        if let Some(slots) = slots {
            slots.queue(id);
        }
    }

    fn push(
        &mut self,
        call: &Call<'_>,
        kind: Kind,
        slots: Option<&Slots>,
    ) -> Result<(RequestId, UnderWay), Why> {
        let len = call.body.encoded_len()?;
        let (fd_count, capacity) = (call.fds.len(), Self::CAPACITY);
        if len > capacity {
            return Err(Why::TooLong { len, capacity });
        } else if fd_count > FDS {
            return Err(Why::TooManyFds { count: fd_count, capacity: FDS });
        } else if !self.fits(len, fd_count) {
            self.reclaim(slots);
            if !self.has_room_for(len, fd_count, slots) {
                return Err(Why::Full);
            }
        }
        let id = self.table.next_id().ok_or(Why::Full)?;
        let header = match kind {
            Kind::OneWay => Header::one_way(call.method, id.to_wire()),
            _ => Header::request(call.method, id.to_wire()),
        };
        let mut room = self.outbox.reserve(len, fd_count).map_err(|_| Why::Full)?;
        for &fd in call.fds {
            // There is room for as many.
            _ = room.fds().push(duplicate(fd).map_err(Why::NoFdLeft)?);
        }
        // One that is longer now than it has said does not know its own length.
        let space = len;
        let len = call.body.encode(room.payload()).ok().filter(|&len| len <= space);
        let len = len.ok_or(Why::Unencodable)?;
        let under_way = UnderWay {
            frame: room.commit(header, len).map_err(|_| Why::Full)?,
            deadline: call.deadline.unwrap_or(Instant::NEVER),
            again: call.again,
            begun: 0,
            is_one_way: kind == Kind::OneWay,
        };
        Ok((id, under_way))
    }

    /// Gives a request up; answers false where it is not under way.
    pub(crate) fn cancel(&mut self, id: RequestId, slots: Option<&Slots>) -> bool {
        let under_way = self.table.get(id);
        if let Some(under_way) = under_way {
            self.take_back(id, &under_way, Ending::Cancelled, slots);
        }
        under_way.is_some()
    }

    /// Ends the requests whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant, slots: Option<&Slots>) {
        while let Some((id, under_way)) = self.table.next_expired(now) {
            self.take_back(id, &under_way, Ending::DeadlinePassed, slots);
        }
    }

    /// Takes a request back from the worker and ends it.
    fn take_back(
        &mut self,
        id: RequestId,
        under_way: &UnderWay,
        ending: Ending,
        slots: Option<&Slots>,
    ) {
        let finish = slots
            .filter(|slots| self.fate(id, under_way, slots) == Lost::Done)
            .and_then(|slots| slots.finished(id));
        self.end(id, under_way, ending, finish);
    }

    /// Ends a request that the worker does not answer any more. Of a one-way, which may be finished
    /// all the same, only the counters tell.
    fn end(&mut self, id: RequestId, under_way: &UnderWay, ending: Ending, finish: Option<Finish>) {
        if !under_way.is_one_way {
            self.outbox.retire(under_way.frame);
            self.table.end(id, ending);
        } else if let Some(finish) = finish {
            self.let_go(id, under_way.frame, finish);
        } else {
            let count = match ending {
                Ending::Lost(_) => &mut self.counters.one_ways_lost,
                Ending::DeadlinePassed | Ending::Cancelled => &mut self.counters.one_ways_expired,
            };
            add(count, 1);
            self.free(id, under_way.frame);
        }
    }

    /// Ends what was run in line and could not be settled.
    pub(crate) fn lose_sent(&mut self) {
        let sent: Vec<_, SLOTS> = self.sent().collect();
        for (id, under_way) in &sent {
            self.end(*id, under_way, Ending::Lost(Lost::Done), None);
        }
    }

    /// Ends the request that is next to be sent, which a handler in line has not come back from.
    pub(crate) fn lose_next(&mut self) {
        let next = self.outbox.next_unsent();
        let id = next.and_then(|number| RequestId::from_wire(self.outbox.id(number)?));
        if let Some((id, under_way)) = id.and_then(|id| Some((id, self.table.get(id)?))) {
            self.end(id, &under_way, Ending::Lost(Lost::Running), None);
        }
    }

    /// Finds the next answer to a request that was sent; others are counted.
    pub(crate) fn next_answer(&mut self) -> Result<Option<Answer<Tag>>, InboxError> {
        while let Some(header) = self.inbox.advance()? {
            let Some((id, frame)) = self.asked_by(&header) else {
                let fds = u64::try_from(self.inbox.current().fds.len()).unwrap_or(u64::MAX);
                let is_word = header == Header::one_way(0, 0);
                add(&mut self.counters.one_ways_told, u64::from(is_word));
                add(&mut self.counters.stray_replies, u64::from(!is_word));
                add(&mut self.counters.stray_fds, fds);
                continue;
            };
            let Some(tag) = self.table.finish(id) else { continue };
            self.told = Some(id);
            self.outbox.retire(frame);
            return Ok(Some(match header.kind() {
                Kind::Refusal => {
                    Answer::Refused(tag, Refusal::decode(self.inbox.current().payload))
                }
                _ => Answer::Reply(tag),
            }));
        }
        Ok(None)
    }

    /// Returns the request that a frame answers.
    fn asked_by(&self, header: &Header) -> Option<(RequestId, FrameNumber)> {
        let id = RequestId::from_wire(header.id())
            .filter(|_| matches!(header.kind(), Kind::Reply | Kind::Refusal))?;
        let under_way = self.table.get(id).filter(|under_way| !under_way.is_one_way)?;
        self.outbox.is_sent(under_way.frame).then_some((id, under_way.frame))
    }

    /// Returns the outcome of a reply that was just found.
    pub(crate) fn reply(&mut self) -> Outcome<'_> {
        let arrival = self.inbox.current();
        Outcome::Reply(ReplyView {
            payload: arrival.payload,
            fds: arrival.fds,
            fds_lost: arrival.fds_lost,
        })
    }

    /// Gives the next outcome that main itself came to.
    pub(crate) fn next_ended(&mut self) -> Option<(Tag, Ending)> {
        let (id, tag, ending) = self.table.next_ended()?;
        self.told = Some(id);
        Some((tag, ending))
    }

    /// Returns the requests under way, in the order in which they were taken: that in which
    /// their frames are queued.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (RequestId, UnderWay)> {
        let numbers =
            core::iter::successors(self.outbox.first(), |&frame| self.outbox.next_after(frame));
        let ids = numbers.filter_map(|frame| RequestId::from_wire(self.outbox.id(frame)?));
        ids.filter_map(|id| Some((id, self.table.get(id)?)))
    }

    /// Returns those under way that were sent, in order.
    fn sent(&self) -> impl Iterator<Item = (RequestId, UnderWay)> {
        self.in_order().filter(|(_, under_way)| self.outbox.is_sent(under_way.frame))
    }

    /// Reads each request's fate from the page of a worker that is gone: it is kept for the next
    /// one, or it ends here. A request that had begun is kept at most `limit` times. It returns
    /// how many that had been sent are kept.
    pub(crate) fn settle_fates(&mut self, slots: &Slots, limit: u8) -> usize {
        let mut resent = 0;
        let requests: Vec<_, SLOTS> = self.in_order().collect();
        for (id, under_way) in &requests {
            let was_sent = self.outbox.is_begun(under_way.frame);
            let fate = self.fate(*id, under_way, slots);
            let goes_on = match fate {
                Lost::NotBegun => !was_sent || under_way.again != Again::Never,
                Lost::Running => under_way.again == Again::Always && under_way.begun < limit,
                Lost::Done => false,
            };
            if !goes_on {
                self.lose(*id, under_way, fate, Some(slots));
                continue;
            }
            resent += usize::from(was_sent);
            if fate == Lost::Running {
                self.table.count_begun(*id);
            }
        }
        resent
    }

    /// Ends every request: there is no next worker. The words are those of the last one.
    pub(crate) fn lose_all(&mut self, slots: Option<&Slots>) {
        let requests: Vec<_, SLOTS> = self.in_order().collect();
        for (id, under_way) in &requests {
            let fate = slots.map_or(Lost::NotBegun, |slots| self.fate(*id, under_way, slots));
            self.lose(*id, under_way, fate, slots);
        }
    }

    /// Takes a request back. What was never sent cannot have begun, whatever the page says.
    fn fate(&self, id: RequestId, under_way: &UnderWay, slots: &Slots) -> Lost {
        let was_sent = self.outbox.is_begun(under_way.frame);
        if was_sent { slots.take_back(id) } else { Lost::NotBegun }
    }

    fn lose(&mut self, id: RequestId, under_way: &UnderWay, fate: Lost, slots: Option<&Slots>) {
        let finish = slots.filter(|_| fate == Lost::Done).and_then(|slots| slots.finished(id));
        // One that is sent again has begun before, in a worker that was lost.
        let fate = if under_way.begun > 0 && fate == Lost::NotBegun { Lost::Running } else { fate };
        self.end(id, under_way, Ending::Lost(fate), finish);
    }

    /// Begins anew for another worker: all that is kept is sent to it, in order.
    pub(crate) fn begin_anew(&mut self) {
        self.inbox.reset();
        self.outbox.rewind();
    }

    /// Offers all that is kept to a new worker, and asks it what the one before was asked.
    pub(crate) fn queue_all(&self, slots: &Slots) {
        for (id, _) in self.in_order() {
            slots.queue(id);
        }
        if self.lacks_room.load(Ordering::Relaxed) {
            slots.ask();
        }
    }
}
