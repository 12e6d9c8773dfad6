//! Main's typed calls to the worker, and the disk that serves them.

use core::time::Duration;

use ipc_transport::Instant;
use ipc_worker::{Launch, Reason, Refusal, ReplyView, Request, Why};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde_bytes::Bytes;

use crate::common::ask::{Ask, LogWorker};
use crate::common::disk::Disk;
use crate::common::ledger::{Name, Tag};
use crate::common::line::{Datagram, Sender};

ipc_worker::service! {
    /// What the worker does for main.
    pub(crate) mod calls {
        /// Appends a message. `received` is counted from 1970; the sender (pid, uid and gid) is
        /// written if given. Returns zero, or the error for which the message was dropped. Never
        /// repeated if it may have been written. Declared quick even when a line takes long,
        /// because one sync for many lines is worth the wait.
        1 => fn append(
            request: &Request<'_>,
            received: Duration,
            sender: Option<[u32; 3]>,
            is_kernel: bool,
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

pub(crate) use calls::Server;
use calls::{Serve, add_dropped, append, finish, reopen};

impl<L: Launch> Ask for LogWorker<L> {
    fn append(&mut self, datagram: &Datagram<'_>, name: Name) -> Result<(), Why> {
        let &Datagram { received, sender, bytes, missing } = datagram;
        let (ids, is_kernel) = match sender {
            Sender::Process(ids) => (Some(ids), false),
            Sender::Kernel => (None, true),
            Sender::Unnamed => (None, false),
        };
        let (bytes, tag) = (Bytes::new(bytes), Tag::Message(name));
        let taken = append::call(self, &received, &ids, &is_kernel, bytes, &missing, tag);
        taken.map(drop).map_err(|not_taken| not_taken.why)
    }

    fn add_dropped(&mut self, count: u64, error: i32) -> bool {
        add_dropped::call(self, &count, &error, Tag::Drops(count)).is_ok()
    }

    fn finish(&mut self) -> bool {
        finish::call(self, Tag::Finish).is_ok()
    }

    fn reopen(&mut self) -> bool {
        self.try_send(reopen::args().call()).is_ok()
    }

    fn dropped(reply: &ReplyView<'_>) -> i32 {
        append::result(reply).unwrap_or(-1)
    }
}

/// The disk, with an optional stall.
pub(crate) struct Slow {
    pub(crate) disk: Disk,
    pub(crate) stall: Option<Stall>,
}

impl Serve for Slow {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.disk.descriptors()
    }

    fn prepare(&mut self) -> Result<(), Reason> {
        self.disk.prepare()
    }

    fn append(
        &mut self,
        request: &Request<'_>,
        received: Duration,
        sender: Option<[u32; 3]>,
        is_kernel: bool,
        bytes: &Bytes,
        missing: u64,
    ) -> Result<i32, Refusal> {
        if let Some(stall) = self.stall {
            stall.wait();
        }
        let sender = match sender {
            Some(ids) => Sender::Process(ids),
            None if is_kernel => Sender::Kernel,
            None => Sender::Unnamed,
        };
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

/// An injected stall: the first `length` of each `period` of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stall {
    length: Duration,
    period: Duration,
}

impl Stall {
    /// Parses `MS/PERIOD`, in milliseconds.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let millis = |text: &str| text.parse().ok().map(Duration::from_millis);
        let (length, period) = text.split_once('/')?;
        let stall = Self { length: millis(length)?, period: millis(period)? };
        (stall.length < stall.period).then_some(stall)
    }

    /// Sleeps while the clock is in the stalled part of its period.
    fn wait(self) {
        let since_start = u128::from(Instant::now().as_nanoseconds());
        let into_period = since_start % self.period.as_nanos();
        let rest = self.length.as_nanos().saturating_sub(into_period);
        std::thread::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
    }
}
