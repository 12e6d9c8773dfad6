//! tokio-unix-ipc: its channel of bytes and descriptors, which costs less than a channel of values.

#![expect(unsafe_code, reason = "tokio-unix-ipc returns descriptors as numbers")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use tokio::runtime::{Builder, Runtime};
use tokio_unix_ipc::{RawReceiver, RawSender, raw_channel_from_std};

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};
use crate::message::whole;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    let (ours, theirs) = UnixStream::pair()?;
    Echo::open(ours, theirs, task, Channel::new, Channel::new)
}

struct Channel {
    sender: RawSender,
    receiver: RawReceiver,
    runtime: Runtime,
}

impl Channel {
    fn new(stream: UnixStream) -> Result<Self, Trouble> {
        stream.set_nonblocking(true)?;
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let (sender, receiver) = runtime.block_on(async { raw_channel_from_std(stream) })?;
        Ok(Self { sender, receiver, runtime })
    }
}

impl End for Channel {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.send_fds(message, &[])
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        self.receive_fds(buffer).map(|_| ())
    }

    fn send_fds(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        self.runtime.block_on(self.sender.send(message, &numbers))?;
        Ok(())
    }

    fn receive_fds(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Trouble> {
        let (message, numbers) = self.runtime.block_on(self.receiver.recv())?;
        let numbers = numbers.unwrap_or_default();
        for &number in &numbers {
            // SAFETY: it was just received, and nothing else owns it.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
        whole(message.len(), buffer.len())?;
        *buffer = message;
        Ok(numbers.len())
    }
}
