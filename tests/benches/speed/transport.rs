//! The crates at the transport level: `Outbox` and `Inbox`, both sides blocking.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsFd;

use ipc_barrier::Child;
use ipc_frame::Header;
use ipc_tests::counting::Counting;
use ipc_tests::forked::forked;
use ipc_tests::speed::{BATCH, Plan, Work};
use ipc_transport::{
    Blocking, FdList, Inbox, Outbox, PassFds, Patience, Ring, Seqpacket, Stream, TransportError,
    duplicate,
};

use crate::contender::{Contender, Lap};
use crate::cpus::pin;
use crate::row_process::die_with_parent;

const ECHO: u16 = 1;
const COUNT: u16 = 2;
const FRAMES: usize = 64;
/// Bytes of a ring each way, at least as many as the buffers have.
const RING: usize = 131_072;

/// A transport that a row can measure.
pub(crate) trait Socket: Sized {
    /// Its view whose calls block.
    type Waiting<'a>: PassFds
    where
        Self: 'a;

    fn pair() -> (Self, Self);
    fn waiting(&mut self, patience: Patience) -> Self::Waiting<'_>;
}

impl Socket for Stream {
    type Waiting<'a> = Blocking<'a, Self>;

    fn pair() -> (Self, Self) {
        Self::pair().unwrap()
    }

    fn waiting(&mut self, patience: Patience) -> Blocking<'_, Self> {
        self.blocking().with(patience)
    }
}

impl<const PACKET: usize> Socket for Seqpacket<PACKET> {
    type Waiting<'a> = Blocking<'a, Self>;

    fn pair() -> (Self, Self) {
        Self::pair().unwrap()
    }

    fn waiting(&mut self, patience: Patience) -> Blocking<'_, Self> {
        self.blocking().with(patience)
    }
}

impl Socket for Ring {
    type Waiting<'a> = Blocking<'a, Self>;

    fn pair() -> (Self, Self) {
        Self::pair(RING).unwrap()
    }

    fn waiting(&mut self, patience: Patience) -> Blocking<'_, Self> {
        self.blocking().with(patience)
    }
}

/// One side: a socket and its buffers.
struct End<S, const BYTES: usize> {
    socket: S,
    outbox: Outbox<BYTES, FRAMES>,
    inbox: Inbox<BYTES>,
    /// Descriptors that a frame from the other side may carry.
    room: usize,
    patience: Patience,
}

impl<S: Socket, const BYTES: usize> End<S, BYTES> {
    const fn new(socket: S, room: usize, patience: Patience) -> Self {
        Self { socket, outbox: Outbox::new(), inbox: Inbox::new(), room, patience }
    }

    fn flush(&mut self) -> Result<(), TransportError> {
        while !self.outbox.flush_with(&mut self.socket.waiting(self.patience))?.complete {}
        self.outbox.retire_sent();
        Ok(())
    }

    fn receive(&mut self) -> Result<(), TransportError> {
        let socket = &mut self.socket.waiting(self.patience);
        self.inbox.receive_with(socket, self.room).map(|_| ())
    }

    /// Answers until the other side closes.
    fn serve(&mut self) {
        loop {
            while let Some(header) = self.inbox.advance().unwrap() {
                let reply = Header::reply(header.id());
                let count = Counting::count().to_le_bytes();
                let payload = match header.method() {
                    COUNT => &count,
                    _ => self.inbox.current().payload,
                };
                self.outbox.push(reply, &[payload]).unwrap();
            }
            match self.flush().and_then(|()| self.receive()) {
                Ok(()) => {}
                Err(TransportError::Closed) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub(crate) struct Framed<S, const BYTES: usize> {
    end: Box<End<S, BYTES>>,
    work: Work,
    payload: Vec<u8>,
    files: Vec<File>,
    _peer: Child,
}

impl<S: Socket, const BYTES: usize> Framed<S, BYTES> {
    pub(crate) fn start(plan: &Plan, peer_cpu: usize) -> Self {
        let (ours, theirs) = S::pair();
        // On one processor spinning would only delay the peer.
        let patience = match (plan.spin, plan.cpus) {
            (true, 2..) => Patience::SPIN,
            _ => Patience::SLEEP,
        };
        let mut theirs = Box::new(End::<S, BYTES>::new(theirs, plan.fds, patience));
        let peer = forked(|| {
            die_with_parent();
            pin(peer_cpu);
            theirs.serve();
        });
        Self {
            end: Box::new(End::new(ours, 0, patience)),
            work: plan.work,
            payload: vec![7; plan.size],
            files: (0..plan.fds).map(|_| File::open("/dev/null").unwrap()).collect(),
            _peer: peer,
        }
    }

    fn ask(&mut self, method: u16, id: u64) {
        let header = Header::request(method, id);
        let pieces: [&[u8]; 1] = [&self.payload];
        if self.files.is_empty() {
            self.end.outbox.push(header, &pieces).unwrap();
            return;
        }
        // The list owns the frame's descriptors.
        let mut fds = FdList::<8>::new();
        for file in &self.files {
            fds.fds().push(duplicate(file.as_fd()).unwrap()).unwrap();
        }
        self.end.outbox.push_with(header, &pieces, &mut fds.fds()).unwrap();
    }

    /// Sends what is queued and takes `count` replies.
    fn answers(&mut self, count: usize) {
        self.end.flush().unwrap();
        for _ in 0..count {
            while self.end.inbox.advance().unwrap().is_none() {
                self.end.receive().unwrap();
            }
            let payload = self.end.inbox.current().payload;
            assert_eq!(black_box(payload).len(), self.payload.len());
        }
    }
}

impl<S: Socket, const BYTES: usize> Contender for Framed<S, BYTES> {
    fn run(&mut self, operations: usize, times: &mut Vec<u64>) {
        let count = if self.work == Work::InFlight { BATCH } else { 1 };
        let mut lap = Lap::begin();
        for round in 0..operations.div_ceil(count) {
            for _ in 0..count {
                self.ask(ECHO, round as u64);
            }
            self.answers(count);
            lap.end(count, times);
        }
    }

    fn peer_allocations(&mut self) -> usize {
        self.ask(COUNT, 0);
        self.end.flush().unwrap();
        while self.end.inbox.advance().unwrap().is_none() {
            self.end.receive().unwrap();
        }
        usize::from_le_bytes(self.end.inbox.current().payload.try_into().unwrap())
    }
}
