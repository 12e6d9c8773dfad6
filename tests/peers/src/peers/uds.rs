//! uds: its SOCK_SEQPACKET pair, which preserves message boundaries.

#![expect(unsafe_code, reason = "uds returns descriptors as numbers")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use uds::UnixSeqpacketConn;

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};
use crate::message::whole;

/// With the default socket buffer, the largest packet is a little smaller than this.
const PACKET: usize = 212_992;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    if task.work.size() >= PACKET {
        return Err(Trouble::LeftOut("larger than the largest packet"));
    }
    Echo::start(UnixSeqpacketConn::pair()?, task)
}

impl End for UnixSeqpacketConn {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        whole(Self::send(self, message)?, message.len())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        whole(self.recv(buffer)?, buffer.len())
    }

    fn send_fds(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        whole(Self::send_fds(self, message, &numbers)?, message.len())
    }

    fn receive_fds(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Trouble> {
        let mut numbers = [-1; 8];
        let (len, _, count) = self.recv_fds(buffer, &mut numbers)?;
        for number in numbers.into_iter().take(count) {
            // SAFETY: it was just received, and nothing else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        whole(len, buffer.len())?;
        Ok(count)
    }
}
