//! Requests as bytes: main's calls, and the disk that serves them.

use ipc_barrier::process::Reason;
use ipc_worker::{Again, Call, Handler, Launch, Refusal, Reply, ReplyView, Request, Why};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::common::ask::{Ask, LogWorker};
use crate::common::disk::Disk;
use crate::common::ledger::{Name, Tag};
use crate::common::line::Datagram;
use crate::common::packed::{pack, unpack};

/// A packed datagram. The reply is the error for which it was dropped, or zero.
const APPEND: u16 = 1;
/// Empty, one-way.
const REOPEN: u16 = 2;
/// A count and an error.
const ADD_DROPPED: u16 = 3;
/// Empty.
const FINISH: u16 = 4;

impl<L: Launch> Ask for LogWorker<L> {
    fn append(&mut self, datagram: &Datagram<'_>, name: Name) -> Result<(), Why> {
        let head = pack(datagram);
        let pieces = [&head[..], datagram.bytes];
        let call = Call::new(APPEND, &pieces).again(Again::IfNotBegun);
        self.try_call(call, Tag::Message(name)).map(drop).map_err(|not_taken| not_taken.why)
    }

    fn add_dropped(&mut self, count: u64, error: i32) -> bool {
        let pieces = [&count.to_le_bytes()[..], &error.to_le_bytes()];
        let call = Call::new(ADD_DROPPED, &pieces).again(Again::IfNotBegun);
        self.try_call(call, Tag::Drops(count)).is_ok()
    }

    fn finish(&mut self) -> bool {
        self.try_call(Call::new(FINISH, &[]).again(Again::Never), Tag::Finish).is_ok()
    }

    fn reopen(&mut self) -> bool {
        self.try_send(Call::new(REOPEN, &[])).is_ok()
    }

    fn dropped(reply: &ReplyView<'_>) -> i32 {
        reply.bytes().try_into().map_or(-1, i32::from_le_bytes)
    }
}

/// Serves the requests on the disk.
pub(crate) struct Server(pub(crate) Disk);

impl Handler for Server {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.descriptors()
    }

    fn prepare(&mut self) -> Result<(), Reason> {
        self.0.prepare()
    }

    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            APPEND => {
                let datagram = unpack(request.bytes()).ok_or(Refusal::MALFORMED)?;
                let dropped = self.0.append(request, &datagram)?;
                reply.put(&dropped.map_or(0, Errno::raw_os_error).to_le_bytes())
            }
            REOPEN => self.0.reopen(),
            ADD_DROPPED => {
                let (count, error) =
                    request.bytes().split_first_chunk().ok_or(Refusal::MALFORMED)?;
                let error = error.try_into().map_err(|_| Refusal::MALFORMED)?;
                let error = Errno::from_raw_os_error(i32::from_le_bytes(error));
                self.0.add_dropped(u64::from_le_bytes(*count), error);
                Ok(())
            }
            FINISH => self.0.finish(request),
            _ => Err(Refusal::UNKNOWN_METHOD),
        }
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        self.0.settle()
    }

    /// All but `FINISH` count as quick: replies may wait for one sync after many lines, even if a
    /// line was slow.
    fn is_quick(&self, method: u16) -> Option<bool> {
        (method != FINISH).then_some(true)
    }
}
