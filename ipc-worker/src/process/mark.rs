//! The argument that marks a program as started to be a worker.

use core::ffi::CStr;
use core::time::Duration;

use heapless::Vec;
use ipc_barrier::process::decimal::{joined, number};
use ipc_transport::Patience;
use rustix::path::DecInt;
use rustix::process::{Pid, getpid, getppid};

/// The beginning of every mark.
const PREFIX: &[u8] = b"ipc-worker:";

/// Bytes of the longest mark, including the zero at its end.
const SIZE: usize = 56;

/// A mark contains the pid of the process that started the worker, so that programs started by the
/// worker are not mistaken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) main: Pid,
    pub(super) spin: Patience,
    /// Main passes a third descriptor: the memory of blocks.
    pub(super) has_blocks: bool,
}

impl Mark {
    /// Returns the mark of this process's workers.
    pub(super) fn new(spin: Patience, has_blocks: bool) -> Self {
        Self { main: getpid(), spin, has_blocks }
    }

    /// Returns the mark as a string that ends with a zero.
    pub(super) fn text(self) -> Vec<u8, SIZE> {
        let spin = u64::try_from(self.spin.spin.as_micros()).unwrap_or(u64::MAX);
        let [main, spin] = [self.main.as_raw_pid().unsigned_abs().into(), spin].map(DecInt::new);
        let blocks = if self.has_blocks { &b":blocks\0"[..] } else { b"\0" };
        joined(&[PREFIX, main.as_bytes(), b":", spin.as_bytes(), blocks])
    }

    /// Reads an argument. `None` unless this process's parent made it, or a main that left its
    /// stream here. That main may have died, or be in another pid namespace.
    pub(super) fn of_main(argument: &CStr, has_left: impl FnOnce(Pid) -> bool) -> Option<Self> {
        Self::read(argument).filter(|mark| getppid() == Some(mark.main) || has_left(mark.main))
    }

    fn read(argument: &CStr) -> Option<Self> {
        let fields = argument.to_bytes().strip_prefix(PREFIX)?;
        let without = fields.strip_suffix(b":blocks");
        let (fields, has_blocks) = (without.unwrap_or(fields), without.is_some());
        let (main, spin) =
            fields.split_at_checked(fields.iter().position(|&byte| byte == b':')?)?;
        let spin = Duration::from_micros(number(spin.get(1..)?)?);
        let main = Pid::from_raw(i32::try_from(number(main)?).ok()?)?;
        Some(Self { main, spin: Patience { spin }, has_blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        for (main, spin) in [(1, 0), (i32::MAX, 0), (i32::MAX, u64::MAX)] {
            let (main, spin) = (Pid::from_raw(main).unwrap(), Duration::from_micros(spin));
            let mark = Mark { main, spin: Patience { spin }, has_blocks: main.as_raw_pid() > 1 };
            let text = mark.text();
            assert_eq!(Mark::read(CStr::from_bytes_with_nul(&text).unwrap()), Some(mark));
        }
    }

    #[test]
    fn any_other_argument_is_no_mark() {
        for text in [c"", c"ipc-worker:", c"ipc-worker:1", c"ipc-worker:0:0", c"ipc-worker:-1:0"] {
            assert_eq!(Mark::read(text), None, "{text:?}");
        }
        for text in [
            c"ipc-worker:1:",
            c"ipc-worker:1:x",
            c"--help",
            c"ipc-worker:1:0:0",
            c":blocks",
            c"\xff",
        ] {
            assert_eq!(Mark::read(text), None, "{text:?}");
        }
        // Pid 2³¹ − 1 does not exist.
        assert_eq!(Mark::of_main(c"ipc-worker:2147483647:0", |_| false), None);
    }
}
