//! sendfd: descriptors over std's `UnixStream`. It has no frames: both sides know the size.

#![expect(unsafe_code, reason = "sendfd returns descriptors as numbers")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use sendfd::{RecvWithFd, SendWithFd};

use crate::contender::{Contender, Task, Trouble};
use crate::echo::{Echo, End};
use crate::peers::bare::filled;

pub(crate) fn start(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    let (ours, theirs) = UnixStream::pair()?;
    Echo::start((Sendfd(ours), Sendfd(theirs)), task)
}

struct Sendfd(UnixStream);

impl Sendfd {
    fn receive_with(&mut self, buffer: &mut [u8], room: usize) -> Result<usize, Trouble> {
        let mut numbers = [-1; 8];
        let mut count = 0;
        filled(buffer, 0, |rest| {
            let (len, received) = self.0.recv_with_fd(rest, &mut numbers[..room])?;
            for &number in &numbers[..received] {
                // SAFETY: it was just received, and nothing else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(number) });
            }
            count += received;
            Ok(len)
        })?;
        Ok(count)
    }
}

impl End for Sendfd {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.send_fds(message, &[])
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble> {
        self.receive_with(buffer, 0).map(|_| ())
    }

    fn send_fds(&mut self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let mut sent = self.0.send_with_fd(message, &numbers)?;
        while sent < message.len() {
            sent += self.0.send_with_fd(&message[sent..], &[])?;
        }
        Ok(())
    }

    fn receive_fds(&mut self, buffer: &mut Vec<u8>) -> Result<usize, Trouble> {
        self.receive_with(buffer, 8)
    }
}
