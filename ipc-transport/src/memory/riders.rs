//! The descriptors that ride on the bytes of a loopback.

use heapless::{Deque, VecView};
use rustix::fd::{BorrowedFd, OwnedFd};

use crate::contract::pass_fds::{PassFds, Received};
use crate::contract::transport::{Transport, TransportError};
use crate::descriptor::duplicate;
use crate::memory::loopback::LoopbackEnd;

const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;
/// Descriptors under way in one direction, and calls that brought some.
const HELD: usize = 2 * MAX_FDS;
const RECORDS: usize = 32;

/// The bytes `start..end` of one call, whose first brings descriptors.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: u64,
    end: u64,
    fd_count: usize,
}

/// Descriptors under way in one direction, in order.
#[derive(Debug)]
pub(crate) struct Riders {
    fds: Deque<OwnedFd, HELD>,
    records: Deque<Record, RECORDS>,
}

impl Riders {
    pub(crate) const fn new() -> Self {
        Self { fds: Deque::new(), records: Deque::new() }
    }

    /// Closes what rides on bytes before the position.
    pub(crate) fn drop_before(&mut self, position: u64) {
        while let Some(record) = self.records.front().filter(|record| record.start < position) {
            for _ in 0..record.fd_count {
                self.fds.pop_front();
            }
            self.records.pop_front();
        }
    }

    fn has_room_for(&self, count: usize) -> bool {
        HELD - self.fds.len() >= count && !self.records.is_full()
    }

    /// Takes duplicates, all or none; they have a claim to bytes only by `ride`.
    fn board(&mut self, fds: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        let before = self.fds.len();
        for fd in fds {
            match duplicate(*fd) {
                Ok(fd) => _ = self.fds.push_back(fd),
                Err(error) => {
                    self.fds.truncate(before);
                    return Err(TransportError::System(error));
                }
            }
        }
        Ok(())
    }
}

impl<const N: usize> PassFds for LoopbackEnd<'_, N> {
    fn send_with(
        &mut self,
        pieces: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Option<usize>, TransportError> {
        if fds.is_empty() {
            return self.send(pieces);
        }
        if fds.len() > MAX_FDS {
            return Err(TransportError::TooManyFds { count: fds.len() });
        }
        let mut ring = self.outgoing.borrow_mut();
        if !ring.is_over() && !ring.riders.has_room_for(fds.len()) {
            return Ok(None);
        }
        let (before, start) = (ring.riders.fds.len(), ring.back());
        ring.riders.board(fds)?;
        let sent = ring.send(pieces);
        if let Ok(Some(_)) = sent {
            let record = Record { start, end: ring.back(), fd_count: fds.len() };
            _ = ring.riders.records.push_back(record);
        } else {
            ring.riders.fds.truncate(before);
        }
        sent
    }

    fn receive_with(
        &mut self,
        space: &mut [u8],
        fds: &mut VecView<OwnedFd>,
    ) -> Result<Option<Received>, TransportError> {
        let mut ring = self.incoming.borrow_mut();
        let record = ring.riders.records.front().copied();
        // As the stream: a call ends with the record whose descriptors it takes.
        let limit = record.map_or(usize::MAX, |record| {
            usize::try_from(record.end - ring.front()).unwrap_or(usize::MAX)
        });
        let limit = limit.min(space.len());
        let Some(len) = ring.receive(space.get_mut(..limit).unwrap_or_default())? else {
            return Ok(None);
        };
        let mut received = Received { len, fds_truncated: false };
        if let Some(record) = record.filter(|record| record.start < ring.front()) {
            for _ in 0..record.fd_count {
                let kept = ring.riders.fds.pop_front().is_some_and(|fd| fds.push(fd).is_ok());
                received.fds_truncated |= !kept;
            }
            ring.riders.records.pop_front();
        }
        Ok(Some(received))
    }
}
