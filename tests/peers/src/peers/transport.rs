//! ipc-transport: `Outbox` and `Inbox` over a `Stream` or a `Ring`, with blocking calls.

#![expect(unsafe_code, reason = "large buffers are built in place")]

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use ipc_frame::{Header, Kind};
use ipc_transport::{
    FdList, Inbox, Outbox, PassFds, Patience, Ring, Stream, SystemError, TransportError, duplicate,
};

use crate::LARGE;
use crate::contender::{Contender, Peer, Task, Trouble, spins, split};
use crate::echo::arrived;
use crate::message::{Message, Service, kind, whole};
use crate::work::{IN_FLIGHT, ONE_WAYS, Work};

const METHOD: u16 = 1;
const FRAMES: usize = 256;

pub(crate) fn sleeping(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    start::<Stream>(task, Patience::SLEEP)
}

pub(crate) fn spinning(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    start::<Stream>(task, Patience::SPIN)
}

pub(crate) fn ring_sleeping(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    start::<Ring>(task, Patience::SLEEP)
}

pub(crate) fn ring_spinning(task: Task) -> Result<Box<dyn Contender>, Trouble> {
    spins(task)?;
    start::<Ring>(task, Patience::SPIN)
}

/// The transport.
trait Carrier: Sized + 'static {
    /// Two ends, with room for `bytes` bytes of frames in flight.
    fn pair(bytes: usize) -> Result<(Self, Self), SystemError>;

    /// A view whose calls block.
    fn waiting(&mut self, patience: Patience) -> impl PassFds;
}

impl Carrier for Stream {
    fn pair(_bytes: usize) -> Result<(Self, Self), SystemError> {
        Self::pair()
    }

    fn waiting(&mut self, patience: Patience) -> impl PassFds {
        self.blocking().with(patience)
    }
}

impl Carrier for Ring {
    fn pair(bytes: usize) -> Result<(Self, Self), SystemError> {
        Self::pair(bytes)
    }

    fn waiting(&mut self, patience: Patience) -> impl PassFds {
        self.blocking().with(patience)
    }
}

fn start<C: Carrier>(task: Task, patience: Patience) -> Result<Box<dyn Contender>, Trouble> {
    // Everything in flight at once, with headers.
    match task.work.size() * task.work.in_round() {
        _ if matches!(task.work, Work::Meet | Work::Large { .. }) => Err(Trouble::Elsewhere),
        size if size <= 8192 || !LARGE => Framed::<C, 32_768>::start(task, patience),
        ..=131_072 => Framed::<C, 196_608>::start(task, patience),
        _ => Framed::<C, 5_242_880>::start(task, patience),
    }
}

/// One side: its end of the transport and its buffers.
struct End<C, const BYTES: usize> {
    socket: C,
    outbox: Box<Outbox<BYTES, FRAMES>>,
    inbox: Box<Inbox<BYTES>>,
    /// Descriptors that a frame from the other side may carry.
    room: usize,
    patience: Patience,
}

impl<C: Carrier, const BYTES: usize> End<C, BYTES> {
    fn new(socket: C, room: usize, patience: Patience) -> Self {
        let (outbox, inbox) = (boxed(Outbox::init), boxed(Inbox::init));
        Self { socket, outbox, inbox, room, patience }
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        let socket = &mut self.socket.waiting(self.patience);
        while !self.outbox.flush_with(socket)?.complete {}
        self.outbox.retire_sent();
        Ok(())
    }

    fn receive(&mut self) -> Result<(), TransportError> {
        let socket = &mut self.socket.waiting(self.patience);
        self.inbox.receive_with(socket, self.room).map(|_| ())
    }

    /// Answers until the other side closes.
    fn serve(mut self, work: Work) -> Result<(), Trouble> {
        let mut service = Service::new(work.size());
        loop {
            while let Some(header) = self.inbox.advance()? {
                let arrival = self.inbox.current();
                whole(arrival.fds.len(), self.room)?;
                if let Some(reply) = service.answer(arrival.payload)? {
                    self.outbox.push(Header::reply(header.id()), &[&reply])?;
                }
            }
            self.flush()?;
            self.receive()?;
        }
    }
}

/// Builds a value directly on the heap; a large one would overflow the stack.
fn boxed<T>(init: impl FnOnce(&mut MaybeUninit<T>) -> &mut T) -> Box<T> {
    let mut place = Box::new_uninit();
    init(&mut place);
    // SAFETY: `init` has just initialized it.
    unsafe { place.assume_init() }
}

struct Framed<C, const BYTES: usize> {
    end: End<C, BYTES>,
    work: Work,
    message: Message,
    files: Vec<File>,
    peer: Peer,
}

impl<C: Carrier, const BYTES: usize> Framed<C, BYTES> {
    fn start(task: Task, patience: Patience) -> Result<Box<dyn Contender>, Trouble> {
        let count = if let Work::Fds { count } = task.work { count } else { 0 };
        let (ours, theirs) = C::pair(BYTES)?;
        let ours = End::new(ours, 0, patience);
        let theirs = End::<C, BYTES>::new(theirs, count, patience);
        let (end, peer) = split(task, ours, theirs, |end| end.serve(task.work))?;
        let files = (0..count).map(|_| File::open("/dev/null")).collect::<Result<_, _>>()?;
        let message = Message::new(task.work.size());
        Ok(Box::new(Self { end, work: task.work, message, files, peer }))
    }

    fn push(&mut self, kind: Kind) -> Result<(), Trouble> {
        let (word, header) = match kind {
            Kind::OneWay => (kind::ONE_WAY, Header::one_way(METHOD, 0)),
            _ => (kind::ECHO, Header::request(METHOD, self.message.number() + 1)),
        };
        let outbox = &mut self.end.outbox;
        if self.files.is_empty() {
            outbox.push(header, &[self.message.next(word)])?;
            return Ok(());
        }
        // The list owns the frame's descriptors.
        let mut fds = FdList::<8>::new();
        for file in &self.files {
            _ = fds.fds().push(duplicate(file.as_fd())?);
        }
        outbox.push_with(header, &[self.message.next(word)], &mut fds.fds())?;
        Ok(())
    }

    fn reply(&mut self, number: u64) -> Result<(), Trouble> {
        while self.end.inbox.advance()?.is_none() {
            self.end.receive()?;
        }
        self.message.check(self.end.inbox.current().payload, number)
    }
}

impl<C: Carrier, const BYTES: usize> Contender for Framed<C, BYTES> {
    fn round(&mut self) -> Result<(), Trouble> {
        if let Work::OneWay { .. } = self.work {
            for _ in 0..ONE_WAYS {
                self.push(Kind::OneWay)?;
            }
            let header = Header::request(METHOD, 0);
            self.end.outbox.push(header, &[self.message.next(kind::COUNT)])?;
            self.end.flush()?;
            return self.reply(arrived(&self.message));
        }
        let count = if let Work::InFlight { .. } = self.work { IN_FLIGHT } else { 1 };
        let first = self.message.number() + 1;
        for _ in 0..count {
            self.push(Kind::Request)?;
        }
        self.end.flush()?;
        (first..=self.message.number()).try_for_each(|number| self.reply(number))
    }

    fn pid(&mut self) -> Option<i32> {
        Some(self.peer.pid())
    }
}
