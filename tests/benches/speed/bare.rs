//! The floors: the same bytes sent by bare system calls.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipc_barrier::Child;
use ipc_tests::forked::forked;
use ipc_tests::speed::{BATCH, Floor, Plan};
use rustix::cmsg_space;
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, send, sendmsg, socketpair,
};

use crate::contender::{Contender, Lap};
use crate::cpus::pin;
use crate::row_process::die_with_parent;

/// Room for as many descriptors as a message may carry: every receiver that may get some needs it.
const CONTROL: usize = cmsg_space!(ScmRights(253));

/// How often a spinning receiver polls before it blocks.
const SPINS: usize = 2000;

/// Buffer size of a receiver that takes all bytes that have arrived.
const BATCHED: usize = 32768;

pub(crate) struct Bare {
    socket: OwnedFd,
    floor: Floor,
    size: usize,
    buffer: Vec<u8>,
    fds: Vec<File>,
    _peer: Child,
}

impl Bare {
    pub(crate) fn start(plan: &Plan, socket: SocketType, peer_cpu: usize) -> Self {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, socket, SocketFlags::CLOEXEC, None).unwrap();
        let (floor, size) = (plan.floor, plan.size);
        let peer = forked(|| {
            die_with_parent();
            pin(peer_cpu);
            serve(&theirs, floor, size);
        });
        let fds = (0..plan.fds).map(|_| File::open("/dev/null").unwrap()).collect();
        let buffer = vec![7; size.max(BATCHED)];
        Self { socket: ours, floor, size, buffer, fds, _peer: peer }
    }

    fn round_trip(&mut self) {
        let Self { socket, floor, size, buffer, fds, .. } = self;
        let message = buffer.get_mut(..*size).unwrap();
        if *floor == Floor::Rights {
            send_with_rights(socket.as_fd(), message, fds);
        } else {
            send_all(socket.as_fd(), message);
        }
        receive_all(socket.as_fd(), message, *floor == Floor::Spinning);
    }

    fn one_by_one(&mut self) {
        let message = self.buffer.get_mut(..self.size).unwrap();
        for _ in 0..BATCH {
            send_all(self.socket.as_fd(), message);
        }
        for _ in 0..BATCH {
            receive_all(self.socket.as_fd(), message, false);
        }
    }

    fn all_at_once(&mut self) {
        let whole = BATCH * self.size;
        send_all(self.socket.as_fd(), self.buffer.get(..whole).unwrap());
        let mut len = 0;
        while len < whole {
            len += receive(self.socket.as_fd(), &mut self.buffer, false);
        }
    }
}

impl Contender for Bare {
    fn run(&mut self, operations: usize, times: &mut Vec<u64>) {
        let mut lap = Lap::begin();
        match self.floor {
            Floor::Calls | Floor::Rights | Floor::Spinning => {
                for _ in 0..operations {
                    self.round_trip();
                    lap.end(1, times);
                }
            }
            Floor::Unbatched => {
                for _ in 0..operations.div_ceil(BATCH) {
                    self.one_by_one();
                    lap.end(BATCH, times);
                }
            }
            Floor::Futex | Floor::Eventfd | Floor::PipeEnd => {
                panic!("no floor of sockets")
            }
            Floor::Batched => {
                for _ in 0..operations.div_ceil(BATCH) {
                    self.all_at_once();
                    lap.end(BATCH, times);
                }
            }
        }
    }

    fn peer_allocations(&mut self) -> usize {
        0
    }
}

/// Echoes everything until the other side closes.
fn serve(socket: &OwnedFd, floor: Floor, size: usize) {
    let mut buffer = vec![0; size.max(BATCHED)];
    loop {
        let len = if floor == Floor::Batched {
            receive(socket.as_fd(), &mut buffer, false)
        } else {
            let message = buffer.get_mut(..size).unwrap();
            receive_all(socket.as_fd(), message, floor == Floor::Spinning)
        };
        if len == 0 {
            return;
        }
        send_all(socket.as_fd(), buffer.get(..len).unwrap());
    }
}

fn send_all(socket: BorrowedFd<'_>, message: &[u8]) {
    let sent = send(socket, message, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(sent, message.len(), "a blocking send takes all bytes");
}

fn send_with_rights(socket: BorrowedFd<'_>, message: &[u8], files: &[File]) {
    let fds: heapless::Vec<BorrowedFd<'_>, 8> = files.iter().map(File::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let slices = [IoSlice::new(message)];
    let sent = sendmsg(socket, &slices, &mut control, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(sent, message.len(), "a blocking sendmsg takes all bytes");
}

/// Receives until the message is full. Returns 0 if the other side has closed.
fn receive_all(socket: BorrowedFd<'_>, message: &mut [u8], spin: bool) -> usize {
    let mut filled = 0;
    while let Some(rest) = message.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let len = receive(socket, rest, spin);
        if len == 0 {
            return 0;
        }
        filled += len;
    }
    filled
}

/// Receives once, and closes the descriptors that arrived.
fn receive(socket: BorrowedFd<'_>, space: &mut [u8], spin: bool) -> usize {
    let mut control_space = [MaybeUninit::uninit(); CONTROL];
    let mut control = RecvAncillaryBuffer::new(&mut control_space);
    let mut slices = [IoSliceMut::new(space)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    for _ in 0..if spin { SPINS } else { 0 } {
        match recvmsg(socket, &mut slices, &mut control, flags | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => std::hint::spin_loop(),
            other => return other.unwrap().bytes,
        }
    }
    match recvmsg(socket, &mut slices, &mut control, flags) {
        Err(Errno::CONNRESET) => 0,
        other => other.unwrap().bytes,
    }
}
