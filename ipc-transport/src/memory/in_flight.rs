//! Descriptors in flight in one direction of a loopback.

use heapless::{Deque, Vec};

use crate::contract::{FdList, Fds, MAX_FDS, TransportError};
use crate::descriptor::duplicate;
use crate::fd::BorrowedFd;

/// Most descriptors in flight, and most sending calls that brought some.
const HELD: usize = 2 * MAX_FDS;
const RECORDS: usize = 32;

/// The bytes `start..end` of one sending call that carries descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) fd_count: usize,
}

/// Descriptors in order, and the sending calls that brought them.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    fds: FdList<HELD>,
    records: Deque<Record, RECORDS>,
}

impl InFlight {
    pub(super) fn has_room_for(&self, count: usize) -> bool {
        count == 0 || (HELD - self.fds.len() >= count && !self.records.is_full())
    }

    pub(super) fn first(&self) -> Option<Record> {
        self.records.front().copied()
    }

    /// Adds duplicates, all or none. The bytes that they travel with are told by
    /// [`sent`](Self::sent).
    pub(super) fn duplicate(&mut self, fds: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        let copies: Result<Vec<_, MAX_FDS>, _> = fds.iter().map(|fd| duplicate(*fd)).collect();
        for fd in copies.map_err(TransportError::System)? {
            _ = self.fds.push(fd);
        }
        Ok(())
    }

    /// Gives the duplicates that were added last their bytes.
    pub(super) fn sent(&mut self, record: Record) {
        if record.fd_count > 0 {
            _ = self.records.push_back(record);
        }
    }

    /// Moves the first record's descriptors to the receiver, and returns whether there was room
    /// for all.
    pub(super) fn deliver(&mut self, fds: &mut Fds<'_>) -> bool {
        let count = self.records.pop_front().map_or(0, |record| record.fd_count);
        self.fds.fds().deliver(count, fds)
    }
}
