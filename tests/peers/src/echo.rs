//! An echoing peer, for contenders with blocking calls that send and receive one message.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use crate::contender::{Contender, Peer, Task, Trouble, split};
use crate::message::{Message, Service, kind};
use crate::work::{IN_FLIGHT, ONE_WAYS, Work};

/// One end of a pair.
pub(crate) trait End {
    fn send(&mut self, message: &[u8]) -> Result<(), Trouble>;

    /// Receives a message into the buffer; both sides know its size. If it arrives in other memory,
    /// that may replace the buffer.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> Result<(), Trouble>;

    fn send_fds(&mut self, _: &[u8], _: &[BorrowedFd<'_>]) -> Result<(), Trouble> {
        Err(Trouble::LeftOut("passes no descriptors"))
    }

    /// Receives a message with descriptors, closes them, and returns how many there were.
    fn receive_fds(&mut self, _: &mut Vec<u8>) -> Result<usize, Trouble> {
        Err(Trouble::LeftOut("passes no descriptors"))
    }
}

/// Main's side.
pub(crate) struct Echo<E: End> {
    end: E,
    work: Work,
    message: Message,
    buffer: Vec<u8>,
    files: Vec<File>,
    peer: Peer,
}

impl<E: End> Echo<E> {
    /// Starts a peer on one end of a pair.
    pub(crate) fn start((ours, theirs): (E, E), task: Task) -> Result<Box<dyn Contender>, Trouble>
    where
        E: 'static,
    {
        Self::open(ours, theirs, task, Ok, Ok)
    }

    /// Starts a peer whose end is created after the fork, from what both processes share.
    pub(crate) fn open<A, B>(
        ours: A,
        theirs: B,
        task: Task,
        ours_made: impl FnOnce(A) -> Result<E, Trouble>,
        theirs_made: impl FnOnce(B) -> Result<E, Trouble>,
    ) -> Result<Box<dyn Contender>, Trouble>
    where
        E: 'static,
    {
        let (ours, peer) = split(task, ours, theirs, |end| serve(theirs_made(end)?, task.work))?;
        let count = if let Work::Fds { count } = task.work { count } else { 0 };
        let files = (0..count).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
        let message = Message::new(task.work.size());
        let buffer = vec![0; message.len()];
        let end = ours_made(ours)?;
        Ok(Box::new(Self { end, work: task.work, message, buffer, files, peer }))
    }

    fn reply(&mut self, number: u64) -> Result<(), Trouble> {
        self.end.receive(&mut self.buffer)?;
        self.message.check(&self.buffer, number)
    }
}

impl<E: End> Contender for Echo<E> {
    fn round(&mut self) -> Result<(), Trouble> {
        match self.work {
            Work::InFlight { .. } => {
                let first = self.message.number() + 1;
                for _ in 0..IN_FLIGHT {
                    self.end.send(self.message.next(kind::ECHO))?;
                }
                (first..=self.message.number()).try_for_each(|number| self.reply(number))
            }
            Work::OneWay { .. } => {
                for _ in 0..ONE_WAYS {
                    self.end.send(self.message.next(kind::ONE_WAY))?;
                }
                self.end.send(self.message.next(kind::COUNT))?;
                self.reply(arrived(&self.message))
            }
            Work::Fds { .. } => {
                let fds: Vec<BorrowedFd<'_>> = self.files.iter().map(File::as_fd).collect();
                self.end.send_fds(self.message.next(kind::ECHO), &fds)?;
                self.reply(self.message.number())
            }
            Work::RoundTrip { .. } | Work::Spawn | Work::Kill => {
                self.end.send(self.message.next(kind::ECHO))?;
                self.reply(self.message.number())
            }
            Work::Meet | Work::Large { .. } => Err(Trouble::Elsewhere),
        }
    }

    fn pid(&mut self) -> Option<i32> {
        Some(self.peer.pid())
    }
}

/// Returns how many one-way messages the peer had received before the last message, which asks for
/// the count.
pub(crate) fn arrived(message: &Message) -> u64 {
    let in_round = ONE_WAYS as u64;
    message.number() / (in_round + 1) * in_round
}

/// The peer's side.
fn serve(mut end: impl End, work: Work) -> Result<(), Trouble> {
    let mut service = Service::new(work.size());
    let mut buffer = vec![0; service.size()];
    loop {
        if let Work::Fds { count } = work {
            let received = end.receive_fds(&mut buffer)?;
            if received != count {
                return Err(Trouble::Failed(format!("{received} of {count} descriptors arrived")));
            }
        } else {
            end.receive(&mut buffer)?;
        }
        if let Some(reply) = service.answer(&buffer)? {
            end.send(&reply)?;
        }
    }
}
