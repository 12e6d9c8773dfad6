//! A place for one daemon: its socket, its directory, and what stands in it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::is_tiny;

/// Longer than anything takes that does not hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A directory of a test's own, with `logs` for the daemon and `socket` beside it.
pub(crate) struct Home {
    temp: TempDir,
}

impl Home {
    /// Returns what the daemon has said on standard error, but for the system's own limit, which
    /// machines differ in.
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

    /// Returns the path of a log: 0 for the one that is written, more for older ones.
    pub(crate) fn log(&self, number: u32) -> PathBuf {
        match number {
            0 => self.dir().join("log"),
            number => self.dir().join(format!("log.{number}")),
        }
    }

    /// Returns the numbers of the logs there are, the oldest first.
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

    /// Returns the bytes of all logs, the oldest first.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.numbers().into_iter().flat_map(|number| read(&self.log(number))).collect()
    }

    /// Returns all lines, the oldest first; each must be a whole one.
    pub(crate) fn lines(&self) -> Vec<Line> {
        lines(&self.bytes())
    }

    /// Returns the texts of all lines.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.lines().into_iter().map(|line| line.text).collect()
    }

    /// Waits for so many lines.
    pub(crate) fn await_lines(&self, count: usize) -> Vec<Line> {
        eventually(&format!("{count} lines"), || {
            (self.bytes().iter().filter(|&&byte| byte == b'\n').count() >= count).then_some(())
        });
        self.lines()
    }
}

/// A line in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) time: String,
    /// Facility and severity.
    pub(crate) kind: String,
    /// The text; what is no UTF-8 is replaced.
    pub(crate) text: String,
}

/// Takes a file's bytes apart; they end with a whole line.
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

/// Returns what a daemon has said, as logd says it, whatever its own name is.
pub(crate) fn in_words(said: Vec<u8>) -> String {
    let said = String::from_utf8(said).unwrap();
    if is_tiny() { said.replace("tinylogd: ", "logd: ") } else { said }
}

/// Reads a file; one that is not there has nothing in it.
pub(crate) fn read(path: &Path) -> Vec<u8> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        result => result.unwrap(),
    }
}

/// Waits until there is something.
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
