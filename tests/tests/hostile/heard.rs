//! What main learns from hostile and honest workers.

use std::os::fd::{AsFd, OwnedFd};

use ipc_tests::forked::soon;
use ipc_transport::{Interest, Watched, wait};
use ipc_worker::{Event, How, Instant, Launch, Outcome};

use crate::Liars;

/// Everything that main was told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) outcomes: Vec<(u32, Told)>,
    pub(crate) deaths: usize,
    pub(crate) starts: usize,
    pub(crate) failures: usize,
    pub(crate) notes: usize,
    /// Descriptors in the replies of liars.
    pub(crate) fds: Vec<OwnedFd>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Reply(Vec<u8>),
    Refused,
    Lost(How),
    Late,
}

impl Heard {
    pub(crate) fn note(&mut self, event: Event<'_, u32>) {
        let (tag, outcome) = match event {
            Event::Done { tag, outcome } => (tag, outcome),
            Event::Died(_) => return self.deaths += 1,
            Event::Started { .. } => return self.starts += 1,
            Event::NotStarted(_) => return self.failures += 1,
            Event::Note { tag: None, .. } => return self.notes += 1,
            other => panic!("{other:?}"),
        };
        assert!(self.outcomes.iter().all(|(told, _)| *told != tag), "{tag} has two outcomes");
        let told = match outcome {
            Outcome::Reply(mut reply) => {
                let bytes = reply.bytes().to_vec();
                self.fds.extend(std::iter::from_fn(|| reply.take_fd()));
                Told::Reply(bytes)
            }
            Outcome::Refused(_) => Told::Refused,
            Outcome::Lost(lost) => Told::Lost(lost.how),
            Outcome::DeadlinePassed => Told::Late,
            other => panic!("{tag}: {other:?}"),
        };
        self.outcomes.push((tag, told));
    }

    /// Turns, like a daemon's loop, until main has been told enough.
    pub(crate) fn until<L: Launch>(
        worker: &mut Liars<L>,
        mut is_enough: impl FnMut(&Self) -> bool,
    ) -> Self {
        let (mut heard, limit) = (Self::default(), soon());
        loop {
            worker.turn(Instant::now());
            while let Some(event) = worker.next_event() {
                heard.note(event);
            }
            if is_enough(&heard) {
                return heard;
            }
            assert!(Instant::now() < limit, "{heard:?}, {worker:?}");
            let next = worker.next_deadline().map_or(limit, |next| next.min(limit));
            wait(&mut [Watched::new(worker.as_fd(), Interest::Input)], Some(next)).unwrap();
        }
    }

    pub(crate) fn of(&self, tag: u32) -> Option<&Told> {
        self.outcomes.iter().find(|(told, _)| *told == tag).map(|(_, outcome)| outcome)
    }
}
