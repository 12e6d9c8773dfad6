//! How long it takes to detect a death: from the signal until the parent knows.

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::time::Instant;

use ipc_barrier::{Barrier, Child, Fork, Page, ParentEnd, Unmet, exit, fork};
use ipc_transport::{Interest, Watched, wait};

use crate::contender::Contender;
use crate::cpus::pin;

pub(crate) struct Deaths {
    peer_cpu: usize,
    see: fn(usize) -> u64,
}

impl Deaths {
    /// Through the pidfd of a barrier's end, while a grandchild holds everything that the child
    /// held.
    pub(crate) fn seen_by_pidfd(peer_cpu: usize) -> Self {
        Self { peer_cpu, see: by_pidfd }
    }

    /// Through the end of a pipe whose other end only the child held.
    pub(crate) fn seen_by_pipe(peer_cpu: usize) -> Self {
        Self { peer_cpu, see: by_pipe }
    }
}

impl Contender for Deaths {
    fn run(&mut self, operations: usize, times: &mut Vec<u64>) {
        // Each operation needs a new process, and nothing to warm up.
        for _ in 0..operations.min(32) {
            times.push((self.see)(self.peer_cpu));
        }
    }

    fn peer_allocations(&mut self) -> usize {
        0
    }
}

fn by_pidfd(peer_cpu: usize) -> u64 {
    let barrier = Barrier::<Page>::open().unwrap();
    let (alive, until) = pipe().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop(until);
            pin(peer_cpu);
            if let Fork::Child(_guard) = fork().unwrap() {
                until_closed(alive);
            }
            let mut end = barrier.into_child();
            assert!(end.place().is_ok());
            _ = end.wait_abort();
            exit(0);
        }
        Fork::Parent(child) => child,
    };
    let mut end: ParentEnd = barrier.into_parent().watching(&child).unwrap();
    end.wait_next().unwrap();
    let begin = Instant::now();
    child.kill().unwrap();
    assert_eq!(end.wait_next(), Err(Unmet::Gone));
    let time = begin.elapsed();
    drop(until);
    reap(&mut child);
    u64::try_from(time.as_nanos()).unwrap()
}

fn by_pipe(peer_cpu: usize) -> u64 {
    let (mut reader, writer) = pipe().unwrap();
    let (alive, until) = pipe().unwrap();
    let mut child = match fork().unwrap() {
        Fork::Child(_guard) => {
            drop((reader, until));
            pin(peer_cpu);
            is_ready(&writer);
            until_closed(alive);
        }
        Fork::Parent(child) => child,
    };
    drop(writer);
    reader.read_exact(&mut [0]).unwrap();
    let begin = Instant::now();
    child.kill().unwrap();
    assert!(wait(&mut [Watched::new(reader.as_fd(), Interest::End)], None).unwrap());
    let time = begin.elapsed();
    reap(&mut child);
    u64::try_from(time.as_nanos()).unwrap()
}

fn is_ready(mut writer: &PipeWriter) {
    writer.write_all(b"x").unwrap();
}

/// Lives until the measuring process exits or closes its end.
fn until_closed(mut alive: PipeReader) -> ! {
    _ = alive.read(&mut [0]);
    exit(0)
}

fn reap(child: &mut Child) {
    child.wait_until(ipc_transport::Instant::now() + std::time::Duration::from_secs(5)).unwrap();
}
