//! What all contenders share: a peer process, and operations that are timed.

use std::time::Instant;

use ipc_barrier::{Eventfd, Page};
use ipc_tests::speed::{Floor, Level, Plan, Subject, With, Work};
use ipc_transport::{Ring, Seqpacket, Stream};
use ipc_worker::{Fork, Start};
use rustix::net::SocketType;

use crate::bare::Bare;
use crate::bare_barrier::{Futex, Pthread, RawEventfd};
use crate::barrier::Laned;
use crate::death::Deaths;
use crate::meeting::Meeting;
use crate::transport::Framed;
use crate::worker::Supervised;

/// One side of a pair of processes; its peer is waiting.
pub(crate) trait Contender {
    /// Does at least `operations` operations and appends their times, in ns each. Operations done
    /// together give one time.
    fn run(&mut self, operations: usize, times: &mut Vec<u64>);

    /// Returns the peer's allocations so far.
    fn peer_allocations(&mut self) -> usize;
}

/// Starts the row's subject.
pub(crate) fn subject(plan: &Plan, peer_cpu: usize) -> Box<dyn Contender> {
    match (plan.level, plan.subject) {
        (_, Subject::Futex | Subject::MarkedFutex) => {
            Box::new(Meeting::<Futex>::start(plan, peer_cpu))
        }
        (_, Subject::RawEventfd) => Box::new(Meeting::<RawEventfd>::start(plan, peer_cpu)),
        (_, Subject::Pthread) => Box::new(Meeting::<Pthread>::start(plan, peer_cpu)),
        (_, Subject::Page) => Box::new(Meeting::<Laned<Page>>::start(plan, peer_cpu)),
        (_, Subject::Eventfd) => Box::new(Meeting::<Laned<Eventfd>>::start(plan, peer_cpu)),
        (_, Subject::PidfdAlone) => Box::new(Deaths::seen_by_pidfd(peer_cpu)),
        (Level::Bare, _) => floor(plan, peer_cpu),
        (Level::Transport, Subject::Seqpacket) if plan.size > 4096 => {
            Box::new(Framed::<Seqpacket<PACKET>, LARGE>::start(plan, peer_cpu))
        }
        (Level::Transport, Subject::Seqpacket) => {
            Box::new(Framed::<Seqpacket<PACKET>, SMALL>::start(plan, peer_cpu))
        }
        (Level::Transport, Subject::Ring) if plan.size > 4096 => {
            Box::new(Framed::<Ring, LARGE>::start(plan, peer_cpu))
        }
        (Level::Transport, Subject::Ring) => Box::new(Framed::<Ring, SMALL>::start(plan, peer_cpu)),
        (_, Subject::Bare) | (Level::Worker, Subject::Seqpacket) | (Level::Barrier, _) => {
            panic!("not supported: {plan}")
        }
        (Level::Transport, Subject::Stream) if plan.size > 4096 => {
            Box::new(Framed::<Stream, LARGE>::start(plan, peer_cpu))
        }
        (Level::Transport, Subject::Stream) => {
            Box::new(Framed::<Stream, SMALL>::start(plan, peer_cpu))
        }
        (Level::Worker, Subject::Stream) if plan.size > 4096 => {
            Box::new(Supervised::<_, LARGE>::start(plan, peer_cpu, |start| start))
        }
        (Level::Worker, Subject::Stream) => {
            Box::new(Supervised::<_, SMALL>::start(plan, peer_cpu, |start| start))
        }
        (Level::Worker, Subject::Ring) if plan.size > 4096 => {
            Box::new(Supervised::<_, LARGE>::start(plan, peer_cpu, Start::<Fork<_>>::over_ring))
        }
        (Level::Worker, Subject::Ring) => {
            Box::new(Supervised::<_, SMALL>::start(plan, peer_cpu, Start::<Fork<_>>::over_ring))
        }
    }
}

/// Starts the bare calls to which the row is compared.
pub(crate) fn floor(plan: &Plan, peer_cpu: usize) -> Box<dyn Contender> {
    match plan.floor {
        Floor::Futex => {
            let plan = Plan { subject: Subject::Futex, ..*plan };
            return Box::new(Meeting::<Futex>::start(&plan, peer_cpu));
        }
        Floor::Eventfd => {
            let work = Work::PingPong(With::Nothing);
            let plan = Plan { work, subject: Subject::Eventfd, ..*plan };
            return Box::new(Meeting::<Laned<Eventfd>>::start(&plan, peer_cpu));
        }
        Floor::PipeEnd => return Box::new(Deaths::seen_by_pipe(peer_cpu)),
        _ => {}
    }
    let socket = match (plan.subject, plan.floor) {
        (Subject::Ring, _) => SocketType::STREAM,
        (Subject::Seqpacket, Floor::Calls | Floor::Rights | Floor::Spinning) => {
            SocketType::SEQPACKET
        }
        _ => SocketType::STREAM,
    };
    Box::new(Bare::start(plan, socket, peer_cpu))
}

/// Bytes each way for payloads of up to 4 KiB: the worker's default.
const SMALL: usize = 32768;

/// Bytes each way for payloads of 64 KiB; a reply may take half of them.
const LARGE: usize = 192 * 1024;

/// Bytes of a packet: one packet holds a frame of 64 KiB.
const PACKET: usize = 72 * 1024;

/// Measures the time from one operation to the next.
pub(crate) struct Lap(Instant);

impl Lap {
    pub(crate) fn begin() -> Self {
        Self(Instant::now())
    }

    /// Appends the time since the last call, divided among the operations done since then.
    pub(crate) fn end(&mut self, operations: usize, times: &mut Vec<u64>) {
        let now = Instant::now();
        let time = now.duration_since(self.0).as_nanos() / operations as u128;
        times.push(u64::try_from(time).unwrap_or(u64::MAX));
        self.0 = now;
    }
}
