//! What the kernel tells of a process or thread in its file `stat` (proc(5)).

use rustix::fd::AsFd;

use super::decimal;

/// Bytes of a file that are read: flags come early.
pub(super) const LEN: usize = 256;

/// Reads the file's start up to the name, and the task's flags (`PF_` of linux/sched.h).
pub(super) fn read(stat: impl AsFd, buffer: &mut [u8; LEN]) -> Option<(&[u8], u64)> {
    let len = rustix::io::read(stat, &mut *buffer).ok()?;
    // Number, name in parentheses, state, five numbers, flags. A name may hold anything.
    let text = buffer.get(..len)?;
    let end = text.windows(2).rposition(|end| end == b") ")?;
    let (start, rest) = text.split_at_checked(end + 2)?;
    Some((start, decimal::number(rest.split(|&byte| byte == b' ').nth(6)?)?))
}
