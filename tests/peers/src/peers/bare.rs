//! The floor: a stream socketpair with blocking send(2) and recv(2), or sendmsg(2) and recvmsg(2)
//! for descriptors.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::{IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};
use crate::message::whole;

/// The most descriptors in a message.
const FDS: usize = 8;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Echo::start((Bare(ours), Bare(theirs)), task)
}

struct Bare(OwnedFd);

impl End for Bare {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        let sent = send(&self.0, message, SendFlags::NOSIGNAL)?;
        whole(sent, message.len())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        filled(buffer, 0, |rest| Ok(recv(&self.0, rest, RecvFlags::empty())?.0))
    }

    fn send_fds(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(fds));
        let slices = [IoSlice::new(message)];
        let sent = sendmsg(&self.0, &slices, &mut control, SendFlags::NOSIGNAL)?;
        whole(sent, message.len())
    }

    fn receive_fds(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Trouble> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg(&self.0, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let count = control
            .drain()
            .map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.count(),
                _ => 0,
            })
            .sum();
        filled(buffer, received.bytes, |rest| Ok(recv(&self.0, rest, RecvFlags::empty())?.0))?;
        Ok(count)
    }
}

/// Receives until the buffer is full, for streams that do not preserve message boundaries.
pub(super) fn filled(
    buffer: &mut [u8],
    mut len: usize,
    mut receive: impl FnMut(&mut [u8]) -> Result<usize, Trouble>,
) -> Result<(), Trouble> {
    while len < buffer.len() {
        match receive(&mut buffer[len..])? {
            0 => return Err(Trouble::Failed("the other side has closed".into())),
            more => len += more,
        }
    }
    Ok(())
}
