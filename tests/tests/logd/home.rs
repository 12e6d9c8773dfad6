//! A home for one daemon: its socket, its directory, and the logs in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::is_tiny;

/// Longer than anything takes that does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A test's own directory, with `logs` for the daemon and `socket` next to it.
pub(crate) struct Home {
    temp: TempDir,
}

impl Home {
    /// Returns the daemon's standard error, without the line about the system's limit, which
    /// differs between machines.
    pub(crate) fn said(&self) -> String {
        let said = in_words(read(&self.path("stderr")));
        said.split_inclusive('\n').filter(|line| !line.contains("max_dgram_qlen")).collect()
    }

    pub(crate) fn new() -> Self {
        let home = Self { temp: tempfile::tempdir().unwrap() };
        fs::create_dir(home.dir()).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("socket")
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.path("logs")
    }

    /// Returns the path of a log: 0 is the current one, higher numbers are older.
    pub(crate) fn log(&self, number: u32) -> PathBuf {
        match number {
            0 => self.dir().join("log"),
            number => self.dir().join(format!("log.{number}")),
        }
    }

    /// Returns the numbers of the existing logs, oldest first.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let names = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut numbers: Vec<u32> = names
            .filter_map(|name| match name.to_str()? {
                "log" => Some(0),
                name => name.strip_prefix("log.")?.parse().ok(),
            })
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers
    }

    /// Returns the contents of all logs, oldest first.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.numbers().into_iter().flat_map(|number| read(&self.log(number))).collect()
    }

    /// Returns all lines, oldest first; each must be complete.
    pub(crate) fn lines(&self) -> Vec<Line> {
        lines(&self.bytes())
    }

    /// Returns the texts of all lines.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.text).collect()
    }

    /// Waits for `count` lines.
    pub(crate) fn await_lines(&self, count: usize) -> Vec<Line> {
        eventually(&format!("{count} lines"), || {
            (self.bytes().iter().filter(|&&byte| byte == b'\n').count() >= count).then_some(())
        });
        self.lines()
    }
}

/// The parts of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) time: String,
    /// Facility and severity.
    pub(crate) kind: String,
    /// The text, with invalid UTF-8 replaced.
    pub(crate) text: String,
}

/// Splits a file into lines; it must end with a complete one.
pub(crate) fn lines(bytes: &[u8]) -> Vec<Line> {
    let text = String::from_utf8_lossy(bytes);
    assert!(text.is_empty() || text.ends_with('\n'), "half a line at the end: {text:?}");
    text.split_terminator('\n')
        .map(|line| {
            let parts: Vec<&str> = line.splitn(3, ' ').collect();
            let [time, kind, text] = parts[..] else { panic!("not a line: {line:?}") };
            assert!(time.len() == 27 && time.ends_with('Z'), "not a time: {line:?}");
            Line { time: time.to_owned(), kind: kind.to_owned(), text: text.to_owned() }
        })
        .collect()
}

/// Returns a daemon's messages with logd's name, whatever its own name is.
pub(crate) fn in_words(said: Vec<u8>) -> String {
    let said = String::from_utf8(said).unwrap();
    if is_tiny() { said.replace("tinylogd: ", "logd: ") } else { said }
}

/// Reads a file; a missing file counts as empty.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        result => result.unwrap(),
    }
}

/// Waits until `look` returns something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
