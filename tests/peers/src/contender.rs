//! What all contenders share: a peer process, and rounds of work with it.

use std::error::Error;
use std::time::Duration;

use ipc_barrier::{Child, Fork, exit, fork};
use ipc_transport::Instant;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::cpus::pin;
use crate::work::Work;

/// Why a figure is missing.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// This entry is for another kind of work; not worth reporting.
    Elsewhere,
    /// It cannot do this work.
    LeftOut(&'static str),
    /// It should do the work and failed.
    Failed(String),
}

impl<E: Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Main's side of two processes.
pub(crate) trait Contender {
    /// Does one round of the work and checks what comes back.
    fn round(&mut self) -> Result<(), Trouble>;

    /// Returns the peer's process id.
    fn pid(&mut self) -> Option<i32>;

    /// Returns whether it restarts a peer that died.
    fn restarts(&self) -> bool {
        false
    }
}

/// What a contender is started for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) cpus: usize,
    /// The CPU of the peer.
    pub(crate) peer_cpu: usize,
}

/// Our crates among the contenders.
const OURS: [&str; 3] = ["ipc-transport", "ipc-worker", "ipc-barrier"];

/// A contender's name for the tables, and how to start it.
pub(crate) struct Entrant {
    pub(crate) name: &'static str,
    /// What is measured, and how.
    pub(crate) how: &'static str,
    /// The crate whose version the report gives; none for bare calls.
    pub(crate) package: Option<&'static str>,
    pub(crate) start: fn(Task) -> Result<Box<dyn Contender>, Trouble>,
}

impl Entrant {
    /// Returns whether it is the bare calls, to which ratios are taken.
    pub(crate) fn is_floor(&self) -> bool {
        self.package.is_none()
    }

    /// Returns whether it is one of ours.
    pub(crate) fn is_ours(&self) -> bool {
        self.package.is_some_and(|package| OURS.contains(&package))
    }
}

/// A forked peer, killed and reaped on drop.
pub(crate) struct Peer(Child);

impl Peer {
    pub(crate) fn pid(&self) -> i32 {
        self.0.pid()
    }

    /// Gives the peer some time to exit by itself.
    pub(crate) fn ends_within(&mut self, time: Duration) {
        _ = self.0.wait_until(Instant::now() + time);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        _ = self.0.kill();
        self.ends_within(Duration::from_secs(5));
    }
}

/// Forks a peer that serves on its end until that fails; main keeps the other end.
pub(crate) fn split<A, B>(
    task: Task,
    ours: A,
    theirs: B,
    serve: impl FnOnce(B) -> Result<(), Trouble>,
) -> Result<(A, Peer), Trouble> {
    match fork()? {
        Fork::Child(_guard) => {
            drop(ours);
            _ = set_parent_process_death_signal(Some(Signal::KILL));
            pin(task.peer_cpu);
            if let Err(Trouble::Failed(error)) = serve(theirs) {
                // Main closing its side, the usual end, is an error too.
                if std::env::var_os("IPC_PEERS_VERBOSE").is_some() {
                    eprintln!("the peer: {error}");
                }
            }
            exit(0)
        }
        Fork::Parent(child) => {
            drop(theirs);
            Ok((ours, Peer(child)))
        }
    }
}

/// Leaves out work for which spinning does not matter; spinning needs two CPUs.
pub(crate) fn spins(task: Task) -> Result<(), Trouble> {
    match (task.work, task.cpus) {
        (_, 1) | (Work::Spawn | Work::Kill | Work::Meet, _) => Err(Trouble::Elsewhere),
        _ => Ok(()),
    }
}
