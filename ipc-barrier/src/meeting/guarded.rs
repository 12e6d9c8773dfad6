//! A child's end that reports to the parent if the child panics or returns.

use core::ops::{Deref, DerefMut};

use ipc_transport::Errno;

use super::end::ChildEnd;
use super::lane::Lane;
use super::page::Page;
use crate::process::{Guard, Reason};

/// A child's end together with the guard of its process. When it is dropped (by a panic, by `?`, or
/// at the end of its scope), the child fails with the stage "child" and then exits with status 101.
///
/// [`exit`](crate::exit) and exec do not report this: the parent sees only that the child is gone.
///
/// ```
/// use ipc_barrier::{Barrier, Fork, exit, fork};
///
/// fn set_up() -> Result<(), std::io::Error> {
///     Err(std::io::Error::other("no such device"))
/// }
///
/// let barrier = Barrier::new()?;
/// match fork()? {
///     Fork::Child(guard) => {
///         let mut end = barrier.into_child().guarded(guard);
///         set_up()?; // the parent learns that the child returned
///         exit(end.place().is_err().into());
///     }
///     Fork::Parent(_child) => {
///         let error = barrier.into_parent().place_and_sync().unwrap_err();
///         assert_eq!(error.to_string(), "the peer failed: stage child: returned, exit status 101");
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it ends the child"]
pub struct Guarded<L: Lane = Page> {
    end: ChildEnd<L>,
    // Dropped last.
    _guard: Guard,
}

impl<L: Lane> ChildEnd<L> {
    /// Combines the end with the guard of the child's process; see [`Guarded`].
    pub const fn guarded(self, guard: Guard) -> Guarded<L> {
        Guarded { end: self, _guard: guard }
    }
}

impl<L: Lane> Deref for Guarded<L> {
    type Target = ChildEnd<L>;

    fn deref(&self) -> &ChildEnd<L> {
        &self.end
    }
}

impl<L: Lane> DerefMut for Guarded<L> {
    fn deref_mut(&mut self) -> &mut ChildEnd<L> {
        &mut self.end
    }
}

impl<L: Lane> Drop for Guarded<L> {
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        let panics = std::thread::panicking();
        #[cfg(not(feature = "std"))]
        let panics = false;
        let text = if panics { "panicked, exit status 101" } else { "returned, exit status 101" };
        self.end.fail_with(&Reason::new("child", Errno(0), text));
    }
}
