//! A process for the other side of a test, and the deadline for both sides.

use std::time::Duration;

use ipc_barrier::{Child, Ended, Fork, exit, fork};
use ipc_transport::Instant;

/// Returns a deadline that only a hang can miss.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Runs the function in a child, which exits with 0, or with 101 if the function panics.
pub fn forked(run: impl FnOnce()) -> Child {
    match fork().expect("the case has one thread") {
        Fork::Child(_guard) => {
            run();
            exit(0);
        }
        Fork::Parent(child) => child,
    }
}

/// Waits for a child to exit.
pub fn end_of(child: &mut Child) -> Ended {
    child.wait_until(soon()).expect("the child ends in time")
}
