//! What the kernel tells of a process or thread in its file `stat` (proc(5)).

use rustix::fd::AsFd;

/// Bytes of a file that are read: flags come early.
pub(super) const LEN: usize = 256;

/// Reads the file's start up to the name, and the task's flags (`PF_` of linux/sched.h).
pub(super) fn read(stat: impl AsFd, buffer: &mut [u8; LEN]) -> Option<(&str, u32)> {
    let len = rustix::io::read(stat, &mut *buffer).ok()?;
    // Number, name in parentheses, state, five numbers, flags. A name may hold anything.
    let text = str::from_utf8(buffer.get(..len)?).ok()?;
    let (start, rest) = text.rsplit_once(") ")?;
    Some((start, rest.split(' ').nth(6)?.parse().ok()?))
}
