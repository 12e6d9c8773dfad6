//! Main's side of the traffic: requests in, outcomes out. It knows neither transport nor process,
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

/// The requests of a worker that are in flight, their frames, and what arrives.
///
/// The current worker's words are an argument, because workers come and go. Without a worker the
/// list is empty.
#[derive(Debug)]
pub struct Caller<Tag, const SLOTS: usize, const BYTES: usize> {
    pub(crate) table: Table<Tag, SLOTS>,
    pub(crate) outbox: Outbox<BYTES, SLOTS>,
    pub(crate) inbox: Inbox<BYTES>,
    pub(crate) last: Last,
}

/// What a frame reports to main.
pub(crate) enum Answer<Tag> {
    Told(Told<Tag>),
    Note(Header),
}

/// State that is kept between calls.
#[derive(Debug)]
pub(crate) struct Last {
    pub(crate) counters: Counters,
    /// No deadline is earlier than this. The first one may be later.
    pub(crate) earliest: Instant,
    /// The program was told that there is no room, and not yet that there is room again.
    wants_room: AtomicBool,
    /// A request with a time limit was accepted.
    pub(crate) has_limits: bool,
    /// Room that the program waits for was freed since the last turn began, and no event reports
    /// it.
    pub(crate) regained: bool,
    /// The request that was given up last while the worker had begun it. It may still run.
    given_up: Option<UnderWay>,
    /// The frame of the request that the last event gave back.
    frame: Option<FrameNumber>,
    /// The descriptors of that request.
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
            given_up: None,
            frame: None,
            fds: FdList::new(),
        }
    }
}

impl<Tag, const SLOTS: usize, const BYTES: usize> Caller<Tag, SLOTS, BYTES> {
    /// Returns whether such a request would be accepted now, and records that the program was told.
    pub(crate) fn has_room_for(&self, len: usize, fd_count: usize) -> bool {
        let has_room = self.fits(len, fd_count);
        if !has_room {
            self.lacks_room();
        }
        has_room
    }

    /// Returns whether such a request would be accepted now.
    pub(crate) fn fits(&self, len: usize, fd_count: usize) -> bool {
        self.table.next_id().is_some() && self.outbox.has_room_for(len, fd_count)
    }

    /// Records that the program was told that there is no room.
    pub(crate) fn lacks_room(&self) {
        self.last.wants_room.store(true, Relaxed);
    }

    /// Receives once, with room for the descriptors that any reply in flight may carry.
    pub(crate) fn receive(
        &mut self,
        transport: &mut impl PassFds,
    ) -> Result<Arrived, TransportError> {
        self.inbox.receive_with(transport, self.table.reply_fds().into())
    }

    /// Reads the first frame of a new worker, if it has arrived. Returns whether the worker uses
    /// the ring.
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

    /// Returns the requests that were sent but not answered, in the order in which the worker runs
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

    /// Returns the request that the worker runs, or runs next. One that was given up runs until its
    /// answer arrives or a later one begins.
    pub(crate) fn running(&mut self, words: Words<'_>) -> Option<UnderWay> {
        let order = |request: &UnderWay| (!request.is_first, request.frame);
        if let Some(given_up) = &self.last.given_up {
            let later = self.sent().find(|request| order(request) > order(given_up));
            if later.is_some_and(|request| words.peek(request.id) > How::NotBegun) {
                self.last.given_up = None;
                self.room_is_back();
            }
        }
        self.last.given_up.or_else(|| self.sent().next())
    }

    /// Returns how many requests the worker has still to run, as far as is known.
    pub(crate) fn load(&self) -> usize {
        self.table.in_use() + usize::from(self.last.given_up.is_some())
    }

    /// Sends a request before all others, if nothing was sent to the worker yet.
    pub(crate) fn send_first(&mut self, id: RequestId) {
        if let Some(request) = self.table.get(id) {
            let is_first = self.outbox.send_first(request.frame);
            _ = self.table.entry(&request).map(|entry| entry.is_first = is_first);
        }
    }

    /// Releases what the last outcome borrowed.
    pub(crate) fn forget_told(&mut self) {
        if let Some(frame) = self.last.frame.take() {
            self.last.fds.fds().clear();
            self.give_room_back(frame);
        }
    }

    /// Frees the room of a frame that no event reports.
    pub(crate) fn give_room_back(&mut self, frame: FrameNumber) {
        self.outbox.retire(frame);
        self.room_is_back();
    }

    /// Records that room was freed, if the program waits for that.
    pub(crate) fn room_is_back(&mut self) {
        self.last.regained |= mem::take(self.last.wants_room.get_mut());
    }

    /// Accepts a request or a one-way request, by its kind, and queues it. The caller adds the tag,
    /// if it has one.
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
            // As many places as descriptors were reserved.
            _ = room.fds().push(duplicate(fd).map_err(Why::NoFdLeft)?);
        }
        // The message is longer than its `encoded_len`, which is therefore wrong.
        let space = len;
        let len = call.body.encode(room.payload()).ok().filter(|&len| len <= space);
        let header = match kind {
            Kind::OneWay => Header::one_way(call.method, id.to_wire()),
            _ => Header::request(call.method, id.to_wire()).allowing(call.reply_fds),
        };
        let request = UnderWay {
            id,
            // Requests and one-way requests may carry descriptors, so this succeeds.
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
