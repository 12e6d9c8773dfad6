//! Our own barrier, on either lane.

use std::time::Duration;

use ipc_barrier::{Barrier, Child, ChildEnd, End, Lane, ParentEnd, Role};
use ipc_tests::speed::{Plan, With};
use ipc_transport::Instant;

use crate::meeting::{Means, Side};

/// A deadline that no row reaches.
const LONG: Duration = Duration::from_secs(3600);

pub(crate) struct Laned<L> {
    barrier: Barrier<L>,
}

/// An end, and the deadline for all its waits.
pub(crate) struct Sided<E> {
    end: E,
    deadline: Option<Instant>,
}

impl<E> Sided<E> {
    fn new(end: E, with: With) -> Self {
        Self { end, deadline: (with == With::Deadline).then(|| Instant::now() + LONG) }
    }
}

impl<L: Lane> Means for Laned<L> {
    type Parent = Sided<ParentEnd<L>>;
    type Child = Sided<ChildEnd<L>>;

    fn open(_: &Plan) -> Self {
        Self { barrier: Barrier::open().unwrap() }
    }

    fn into_parent(self, child: &Child, with: With) -> Self::Parent {
        let end = self.barrier.into_parent();
        let end = if with == With::Pidfd { end.watching(child).unwrap() } else { end };
        Sided::new(end, with)
    }

    fn into_child(self, with: With) -> Self::Child {
        Sided::new(self.barrier.into_child(), with)
    }
}

impl<R: Role, L: Lane> Side for Sided<End<R, L>> {
    fn place(&mut self) {
        _ = self.end.place();
    }

    fn wait(&mut self) -> bool {
        match self.deadline {
            None => self.end.wait_next().is_ok(),
            Some(deadline) => self.end.wait_next_until(deadline).is_ok(),
        }
    }

    fn meet(&mut self) -> bool {
        match self.deadline {
            None => self.end.place_and_sync().is_ok(),
            Some(deadline) => self.end.place_and_sync_until(deadline).is_ok(),
        }
    }
}
