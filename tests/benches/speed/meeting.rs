//! Two processes that meet repeatedly, by any means.

use std::sync::atomic::Ordering;

use ipc_barrier::{Child, Fork, exit, fork};
use ipc_tests::counting::Counting;
use ipc_tests::speed::{Plan, With, Work};
use ipc_transport::SharedPage;

use crate::contender::{Contender, Lap};
use crate::cpus::pin;
use crate::row_process::die_with_parent;

/// Rounds timed together: reading the clock costs as much as a spinning round.
const ROUNDS: usize = 16;

/// Created before the fork; turns into each side's part.
pub(crate) trait Means {
    type Parent: Side;
    type Child: Side;

    fn open(plan: &Plan) -> Self;
    fn into_parent(self, child: &Child, with: With) -> Self::Parent;
    fn into_child(self, with: With) -> Self::Child;
}

/// One side of a round. Both methods return whether the other side is still there.
pub(crate) trait Side {
    fn place(&mut self);
    /// Waits for one more token from the other side.
    fn wait(&mut self) -> bool;
    /// Places a token, and waits until the other side has placed one.
    fn meet(&mut self) -> bool;
}

pub(crate) struct Meeting<M: Means> {
    side: M::Parent,
    work: Work,
    /// The peer's count of allocations.
    count: SharedPage,
    _peer: Child,
}

impl<M: Means> Meeting<M> {
    pub(crate) fn start(plan: &Plan, peer_cpu: usize) -> Self {
        let (means, work) = (M::open(plan), plan.work);
        let with = match work {
            Work::Meet(with) | Work::PingPong(with) => with,
            _ => panic!("no meeting: {plan}"),
        };
        let count = SharedPage::new(1).unwrap();
        match fork().unwrap() {
            Fork::Child(_guard) => {
                die_with_parent();
                pin(peer_cpu);
                answer(means.into_child(with), work, &count);
                exit(0);
            }
            Fork::Parent(peer) => {
                Self { side: means.into_parent(&peer, with), work, count, _peer: peer }
            }
        }
    }
}

impl<M: Means> Contender for Meeting<M> {
    fn run(&mut self, operations: usize, times: &mut Vec<u64>) {
        let mut lap = Lap::begin();
        for _ in 0..operations.div_ceil(ROUNDS) {
            for _ in 0..ROUNDS {
                let is_there = match self.work {
                    Work::Meet(_) => self.side.meet(),
                    _ => {
                        self.side.place();
                        self.side.wait()
                    }
                };
                assert!(is_there, "the peer has ended");
            }
            lap.end(ROUNDS, times);
        }
    }

    fn peer_allocations(&mut self) -> usize {
        self.count.words().first().unwrap().load(Ordering::Relaxed) as usize
    }
}

/// The peer's rounds, until the other side ends.
fn answer(mut side: impl Side, work: Work, count: &SharedPage) {
    loop {
        for _ in 0..ROUNDS {
            let is_there = match work {
                Work::Meet(_) => side.meet(),
                _ => side.wait(),
            };
            if !is_there {
                return;
            }
            if let Work::PingPong(_) = work {
                side.place();
            }
        }
        let now = u32::try_from(Counting::count()).unwrap_or(u32::MAX);
        count.words().first().unwrap().store(now, Ordering::Relaxed);
    }
}
