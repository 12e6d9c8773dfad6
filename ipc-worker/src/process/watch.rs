//! What the worker's one epoll watches (epoll_ctl(2)).

use ipc_transport::SystemError;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::BorrowedFd;

/// Watches a descriptor for input, and for its end.
pub(super) fn watch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> Result<(), SystemError> {
    epoll::add(epoll, fd, EventData::new_u64(0), EventFlags::IN)
        .map_err(SystemError::of("epoll_ctl"))
}

/// Watches a descriptor for input and also, or no more, for room to write.
pub(super) fn watch_room(
    epoll: BorrowedFd<'_>,
    fd: BorrowedFd<'_>,
    for_room: bool,
) -> Result<(), SystemError> {
    let room = if for_room { EventFlags::OUT } else { EventFlags::empty() };
    epoll::modify(epoll, fd, EventData::new_u64(0), EventFlags::IN | room)
        .map_err(SystemError::of("epoll_ctl"))
}

/// Forgets a descriptor; it may not be watched at all. Closing it would not do: while a child
/// still holds a copy, the kernel would go on watching.
pub(super) fn unwatch(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) {
    _ = epoll::delete(epoll, fd);
}
