//! Reads logs of logd and reports every line that is not whole. While logd runs, the last line of
//! `log` may be incomplete.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use crate::common::date::{self, Time};
use crate::common::line::{Datagram, is_unfit};
use crate::common::message::is_kind;
use crate::common::words::Text;
use crate::program::MESSAGE;

/// No valid line is longer, and no more is kept in memory.
const LONGEST: usize = Datagram::longest_line(MESSAGE);
/// How many faults of a file are shown. The others are only counted.
const SHOWN: u64 = 10;
/// How many seconds earlier than the line before a line may be, because clocks are adjusted.
const STEP: i64 = 1;

/// The results so far.
struct Check {
    are_whole: bool,
    /// When the last good line was received, in seconds since 1970.
    latest: i64,
}

/// Checks the logs of a directory, oldest first, and prints a line for each log and for each fault.
/// Returns whether there is a log and all lines are whole.
///
/// # Errors
/// The directory cannot be read, or the output cannot be written. A log that cannot be read is a
/// fault.
pub(crate) fn check(dir: &Path) -> io::Result<bool> {
    let names: io::Result<Vec<_>> = std::fs::read_dir(dir)?.collect();
    let mut numbers: Vec<u32> =
        names?.iter().filter_map(|entry| number(&entry.file_name())).collect();
    numbers.sort_unstable();
    if numbers.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, "it has no log"));
    }
    let mut check = Check { are_whole: true, latest: 0 };
    for number in numbers.iter().rev() {
        let name = if *number == 0 { "log".to_owned() } else { format!("log.{number}") };
        let path = dir.join(name);
        match open(&path) {
            Ok(file) => check.read(&path.display(), BufReader::new(file))?,
            // It was rotated away meanwhile.
            Err(_) if path.symlink_metadata().is_err() => {}
            Err(error) => check.note_fault(format_args!("{}: {error}", path.display()))?,
        }
    }
    Ok(check.are_whole)
}

/// Returns the number of a log: 0 for `log`, 12 for `log.12`.
fn number(name: &OsStr) -> Option<u32> {
    let end = name.as_bytes().strip_prefix(b"log")?;
    if end.is_empty() {
        return Some(0);
    }
    let digits = end.strip_prefix(b".").filter(|digits| matches!(digits, [b'1'..=b'9', ..]))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Opens a file. Does not block if something else has the name.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty())?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(io::Error::other("not a regular file")),
    }
}

impl Check {
    fn read(&mut self, name: &dyn fmt::Display, mut file: impl BufRead) -> io::Result<()> {
        let (mut count, mut faults, mut line) = (0_u64, 0, Vec::new());
        loop {
            let len = match next(&mut file, &mut line) {
                Ok(len) => len,
                Err(error) => {
                    return self.note_fault(format_args!("{name}:{}: {error}", count + 1));
                }
            };
            if len == 0 {
                break;
            }
            count += 1;
            match look(&line, len) {
                Ok(time) => {
                    if time + STEP < self.latest {
                        let seconds = self.latest - time;
                        put(format_args!(
                            "{name}:{count}: note: {seconds} s earlier than the line before"
                        ))?;
                    }
                    self.latest = time;
                }
                Err(fault) => {
                    faults += 1;
                    if faults <= SHOWN {
                        self.note_fault(format_args!("{name}:{count}: {fault}"))?;
                    }
                }
            }
        }
        put(format_args!("{name}: {count} lines, {} whole", count - faults))
    }

    fn note_fault(&mut self, text: fmt::Arguments<'_>) -> io::Result<()> {
        self.are_whole = false;
        put(text)
    }
}

/// Reads up to and including the next LF, and returns how many bytes that were. Bytes over the
/// limit are left out.
fn next(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    line.clear();
    let mut len = file.take(limit).read_until(b'\n', line)?;
    if len == LONGEST && !line.ends_with(b"\n") {
        len += file.skip_until(b'\n')?;
    }
    Ok(u64::try_from(len).unwrap_or(u64::MAX))
}

/// Returns when a line was received, or what is wrong with it.
fn look(line: &[u8], len: u64) -> Result<i64, String> {
    if u64::try_from(line.len()).is_ok_and(|kept| kept < len) {
        return Err(format!("{len} bytes, over {LONGEST}"));
    }
    let text = line.strip_suffix(b"\n").ok_or_else(|| format!("no end after {len} bytes"))?;
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
    if let Some((index, char)) = text.char_indices().find(|&(_, char)| is_unfit(char)) {
        return Err(format!("U+{:04X} at byte {index}", u32::from(char)));
    }
    let (time, rest) = split_time(text).ok_or("no time at the start")?;
    let kind = rest.split_once(' ').map(|(kind, _)| kind).filter(|kind| is_kind(kind));
    kind.map(|_| time).ok_or_else(|| "no facility and severity after the time".to_owned())
}

/// Splits off the time, if it is written as in a log.
fn split_time(line: &str) -> Option<(i64, &str)> {
    let (written, rest) = line.split_at_checked(date::LEN)?;
    let Some((Time::Exact(time), _)) = Time::split(line.as_bytes()) else { return None };
    let micros = written.get("2001-02-03T04:05:06.".len()..written.len() - 1)?.parse().ok()?;
    let mut again = [0; date::LEN];
    let exact = Duration::from_secs(time.try_into().ok()?) + Duration::from_micros(micros);
    date::put(&mut Text::new(&mut again), exact);
    let rest = rest.strip_prefix(' ').filter(|_| again == written.as_bytes());
    rest.map(|rest| (time, rest))
}

fn put(text: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}
