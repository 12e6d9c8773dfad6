//! What main asks of the worker, as typed calls.

use core::time::Duration;

use ipc_transport::Instant;
use ipc_worker::{Reason, Refusal, Request};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde_bytes::Bytes;

use crate::common::disk::Disk;
use crate::common::line::Datagram;
use crate::options::Stall;
use crate::say;

ipc_worker::service! {
    /// What the worker does for main.
    pub(crate) mod calls {
        /// Appends a message; its time of receipt is counted from 1970, its sender (pid, uid and
        /// gid) is written if it is given. Returns zero, or the error for which it was dropped. One
        /// that may have been written is not written again. One sync for many lines is worth
        /// waiting for, also after a line that took its time: so it counts as quick.
        1 => fn append(
            request: &Request<'_>,
            received: Duration,
            sender: Option<[u32; 3]>,
            bytes: &Bytes,
            missing: u64,
        ) -> i32, again IfNotBegun, quick;
        /// See [`Disk::reopen`]. One-way.
        2 => fn reopen(), quick;
        /// See [`Disk::add_dropped`].
        3 => fn add_dropped(count: u64, error: i32), again IfNotBegun, quick;
        /// See [`Disk::finish`].
        4 => fn finish(request: &Request<'_>), again Never;
    }
}

pub(crate) use calls::*;

/// The disk, perhaps a slow one.
pub(crate) struct Slow {
    pub(crate) disk: Disk<Box<[u8]>>,
    pub(crate) stall: Option<Stall>,
}

impl Serve for Slow {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors()
    }

    fn prepare(&mut self) -> Result<(), Reason> {
        if !self.disk.is_inline() {
            say::open_again();
        }
        self.disk.prepare()
    }

    fn append(
        &mut self,
        request: &Request<'_>,
        received: Duration,
        sender: Option<[u32; 3]>,
        bytes: &Bytes,
        missing: u64,
    ) -> Result<i32, Refusal> {
        if let Some(stall) = self.stall {
            stall.wait();
        }
        let dropped = self.disk.append(request, &Datagram { received, sender, bytes, missing })?;
        Ok(dropped.map_or(0, Errno::raw_os_error))
    }

    fn reopen(&mut self) -> Result<(), Refusal> {
        self.disk.reopen()
    }

    fn add_dropped(&mut self, count: u64, error: i32) -> Result<(), Refusal> {
        self.disk.add_dropped(count, Errno::from_raw_os_error(error));
        Ok(())
    }

    fn finish(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.disk.finish(request)
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        self.disk.settle()
    }
}

impl Stall {
    /// Waits while the clock is in the stalled stretch of its period.
    fn wait(self) {
        let since_start = u128::from(Instant::now().as_nanoseconds());
        let into_period = since_start % self.period.as_nanos();
        let rest = self.length.as_nanos().saturating_sub(into_period);
        std::thread::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
    }
}
