//! Records of the `log` crate as notes.

use core::fmt::{self, Write as _};

use heapless::Vec;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::event::Note;
use crate::notes::{cut, is_own, longest, note};

/// Most bytes of a record, including its target.
const LONGEST: usize = 512;
const TARGET: usize = 64;

/// A logger that sends each record to main as a note: level, target and text, together at most 512
/// bytes. Longer records are cut. The limits of [`note`] apply.
///
/// [`log_notes`] installs it. If main already has a logger, which a forked worker inherits, that
/// logger can call this one: it is [enabled](Log::enabled) only in a worker's process.
///
/// ```
/// use ipc_worker::NoteLog;
/// use log::{Log, Metadata, Record};
///
/// struct Logger;
///
/// impl Log for Logger {
///     fn log(&self, record: &Record<'_>) {
///         match NoteLog.enabled(record.metadata()) {
///             true => NoteLog.log(record),
///             false => eprintln!("{}", record.args()),
///         }
///     }
///     # fn enabled(&self, _: &Metadata<'_>) -> bool { true }
///     # fn flush(&self) {}
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NoteLog;

/// Makes a worker's process log through notes, up to this level. Call it in
/// [`Handler::prepare`](crate::Handler::prepare). Records before main knows that the worker is
/// ready are dropped, like all notes.
///
/// Returns false and changes nothing if the process is not a worker (inline it is not), or already
/// has a logger; see [`NoteLog`].
pub fn log_notes(most: LevelFilter) -> bool {
    let is_set = is_own() && log::set_logger(&NoteLog).is_ok();
    if is_set {
        log::set_max_level(most);
    }
    is_set
}

impl Log for NoteLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        is_own()
    }

    fn log(&self, record: &Record<'_>) {
        let mut line = Line(Vec::new());
        let target = cut(record.target(), TARGET.min(longest() / 4));
        let (level, len) = (record.level() as usize, target.len());
        let head = [level, len].map(|field| u8::try_from(field).unwrap_or(u8::MAX));
        // There is room for these. A cut text makes the formatter fail, which is harmless.
        _ = line.0.extend_from_slice(&head);
        _ = line.0.extend_from_slice(target.as_bytes());
        _ = line.write_fmt(*record.args());
        note(Note::RECORD, &line.0);
    }

    fn flush(&self) {}
}

/// Accepts text while it fits.
struct Line(Vec<u8, LONGEST>);

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LONGEST.min(longest()).saturating_sub(self.0.len());
        let taken = cut(text, room);
        self.0.extend_from_slice(taken.as_bytes()).map_err(|_| fmt::Error)?;
        if taken.len() < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Note<'_> {
    /// Returns the level of a record of the `log` crate, or `None` for any other note. A hostile
    /// worker may send any level.
    pub fn level(&self) -> Option<Level> {
        let (level, ..) = self.record()?;
        let mut levels = Level::iter();
        Some(levels.find(|&it| it as usize == usize::from(level)).unwrap_or(Level::Error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_that_of_the_record_and_any_byte_is_read() {
        let level = |number, bytes: &[u8]| Note { number, bytes }.level();
        for it in Level::iter() {
            let byte = u8::try_from(it as usize).unwrap();
            assert_eq!(level(Note::RECORD, &[byte, 0]), Some(it));
        }
        assert_eq!(level(Note::RECORD, &[0, 0]), Some(Level::Error));
        assert_eq!(level(Note::RECORD, &[6, 255]), Some(Level::Error));
        assert_eq!(level(Note::RECORD, &[]), Some(Level::Error));
        assert_eq!(level(Note::LAST_WORDS, &[2, 0]), None);
    }
}
