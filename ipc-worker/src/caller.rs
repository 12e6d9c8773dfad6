//! Main's side of the traffic: requests in, outcomes out. It names no transport and no process,
//! and never waits.

mod answers;
mod fates;
mod place;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use core::mem;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;

use ipc_frame::{Encode, FrameNumber, Header, Kind, MAX_FDS};
use ipc_transport::{Arrived, FdList, Inbox, Instant, Outbox, PassFds, TransportError, duplicate};

use crate::call::{Call, Why};
use crate::counters::Counters;
use crate::first_frame;
use crate::identity::Identity;
use crate::ledger::{How, RequestId, Table, Told, UnderWay, Words};
use crate::start_error::StartError;

const FDS: usize = MAX_FDS as usize;

/// A worker's requests under way, their frames, and what comes back.
///
/// The words of the worker that has the requests are an argument, since workers come and go; there
/// are none while there is none.
#[derive(Debug)]
pub struct Caller<Tag, const SLOTS: usize, const BYTES: usize> {
    pub(crate) table: Table<Tag, SLOTS>,
    pub(crate) outbox: Outbox<BYTES, SLOTS>,
    pub(crate) inbox: Inbox<BYTES>,
    pub(crate) last: Last,
}

/// What main is told of by a frame.
pub(crate) enum Answer<Tag> {
    Told(Told<Tag>),
    Note(Header),
}

/// What is kept from one call to the next.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) counters: Counters,
    /// No deadline comes before this; there may be none at it either.
    pub(crate) earliest: Instant,
    /// The program was told that room is lacking, and is still to be told that it is back.
    wants_room: AtomicBool,
    /// A request had a time limit.
    pub(crate) has_limits: bool,
    /// Room that was asked for has come back since the last turn began, and no event tells of it.
    pub(crate) regained: bool,
    /// The frame of a request that is given back.
    frame: Option<FrameNumber>,
    /// The descriptors of a request that is given back.
    fds: FdList<FDS>,
}

impl Last {
    fn new() -> Self {
        Self {
            counters: Counters::default(),
            earliest: Instant::NEVER,
            wants_room: AtomicBool::new(false),
            has_limits: false,
            regained: false,
            frame: None,
            fds: FdList::new(),
        }
    }
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Returns whether such a request would be taken now.
    pub(crate) fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        let has_room = self.table.next_id().is_some() && self.outbox.has_room_for(len, fd_count);
        if !has_room {
            self.lacks_room();
        }
        has_room
    }

    /// Notes that the program was told that room is lacking.
    pub(crate) fn lacks_room(&self) {
        self.last.wants_room.store(true, Relaxed);
    }

    /// Receives once, with room for as many descriptors as a reply under way may bring.
    pub(crate) fn receive(
        &mut self,
        transport: &mut impl PassFds,
    ) -> Result<Arrived, TransportError> {
        self.inbox.receive_with(transport, self.table.reply_fds().into())
    }

    /// Reads the first frame of a new worker, once it is there: whether it goes on over the ring.
    pub(crate) fn first_frame(
        &mut self,
        expected: &'static Identity,
    ) -> Option<Result<bool, StartError>> {
        let header = self.inbox.advance().transpose()?.map_err(|_| StartError::Malformed);
        Some(header.and_then(|header| {
            let payload = self.inbox.current().payload;
            first_frame::read(header.kind(), payload, [SLOTS, BYTES], expected)
        }))
    }

    /// Returns the requests that were sent and not answered, in the order in which the worker runs
    /// them.
    pub(crate) fn sent(&self) -> impl Iterator<Item = UnderWay> {
        let (mut is_first, mut at) = (true, self.outbox.first());
        core::iter::from_fn(move || {
            loop {
                match self.next_under_way(&mut at) {
                    None if is_first => (is_first, at) = (false, self.outbox.first()),
                    Some(it) if it.is_first != is_first || !self.outbox.is_begun(it.frame) => {}
                    found => return found,
                }
            }
        })
    }

    /// Sends a request before all others, if nothing was sent to the worker yet.
    pub(crate) fn send_first(&mut self, id: RequestId) {
        if let Some(request) = self.table.get(id) {
            let is_first = self.outbox.send_first(request.frame);
            _ = self.table.entry(&request).map(|entry| entry.is_first = is_first);
        }
    }

    /// Forgets what the last outcome left behind.
    pub(crate) fn forget_told(&mut self) {
        if let Some(frame) = self.last.frame.take() {
            self.last.fds.fds().clear();
            self.give_room_back(frame);
        }
    }

    /// Gives room back that no event tells of.
    pub(crate) fn give_room_back(&mut self, frame: FrameNumber) {
        self.outbox.retire(frame);
        self.room_is_back();
    }

    /// Notes that there may be room, if it was lacking.
    pub(crate) fn room_is_back(&mut self) {
        self.last.regained |= mem::take(self.last.wants_room.get_mut());
    }

    /// Takes a request in, one-way or not by its kind, and queues it. Its tag is still to be
    /// added, if it has one.
    pub(crate) fn take(
        &mut self,
        call: &Call<'_>,
        kind: Kind,
        words: Words<'_>,
    ) -> Result<RequestId, Why> {
        self.forget_told();
        let len = call.body.encoded_len().map_err(|_| Why::Unencodable)?;
        let (fd_count, capacity) = (call.fds.len(), Outbox::<BYTES, SLOTS>::CAPACITY);
        if len > capacity {
            return Err(Why::TooLong { len, capacity });
        }
        let most_fds = fd_count.max(call.reply_fds.into());
        if most_fds > FDS {
            return Err(Why::TooManyFds { count: most_fds, capacity: FDS });
        }
        let full = || {
            self.last.wants_room.store(true, Relaxed);
            Why::Full
        };
        let id = self.table.next_id().ok_or_else(full)?;
        let mut room = self.outbox.reserve(len, fd_count).map_err(|_| full())?;
        for &fd in call.fds {
            // There is room for as many as were reserved.
            _ = room.fds().push(duplicate(fd).map_err(Why::NoFdLeft)?);
        }
        // A message that is longer now than it has said does not know its own length.
        let space = len;
        let len = call.body.encode(room.payload()).ok().filter(|&len| len <= space);
        let header = match kind {
            Kind::OneWay => Header::one_way(call.method, id.to_wire()),
            _ => Header::request(call.method, id.to_wire()).allowing(call.reply_fds),
        };
        let request = UnderWay {
            id,
            // Requests and one-ways may carry descriptors, so it is taken.
            frame: room.commit(header, len.ok_or(Why::Unencodable)?).map_err(|_| Why::Full)?,
            deadline: call.deadline.unwrap_or(Instant::NEVER),
            again: call.again,
            tries: call.tries,
            time_limit: call.time_limit.unwrap_or(Duration::MAX),
            begun: 0,
            reached: How::NotBegun,
            reply_fds: header.reply_fds(),
            is_one_way: kind == Kind::OneWay,
            is_late: false,
            is_first: false,
        };
        self.last.earliest = self.last.earliest.min(request.deadline);
        self.last.has_limits |= call.time_limit.is_some();
        self.table.insert(request);
        words.offer(id);
        Ok(id)
    }
}
