//! The file `stat` of a process or thread in `/proc` (proc(5)).

use rustix::fd::AsFd;

use super::decimal;

/// Bytes to read of the file; the flags come early.
pub(super) const LEN: usize = 256;

/// Reads the file up to the name, and the task's flags (`PF_` of linux/sched.h).
pub(super) fn read(stat: impl AsFd, buffer: &mut [u8; LEN]) -> Option<(&[u8], u64)> {
    let len = rustix::io::read(stat, &mut *buffer).ok()?;
    // Pid, name in parentheses, state, five numbers, flags. The name may contain any bytes.
    let text = buffer.get(..len)?;
    let end = text.windows(2).rposition(|end| end == b") ")?;
    let (start, rest) = text.split_at_checked(end + 2)?;
    Some((start, decimal::number(rest.split(|&byte| byte == b' ').nth(6)?)?))
}
