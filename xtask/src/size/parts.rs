//! Which part of the sources a program's code comes from.

use std::{collections::BTreeMap, path::Path};

use addr2line::Loader;

use crate::failure::Failure;

/// The topics of the daemon's files.
const ABOUT: [(&str, &[&str]); 7] = [
    ("forms of messages and times", &["line", "message", "date"]),
    ("the log, its directory, rotation", &["attributes", "files", "log", "older", "place"]),
    ("the mark of an unclean end", &["mark"]),
    ("full disks and other trouble", &["disk", "policy"]),
    ("handling of messages", &["ask", "daemon", "intake", "ledger", "packed"]),
    ("messages on standard error", &["outlet", "quiet", "say", "words"]),
    (
        "options, start, socket, signals",
        &[
            "kernel", "listener", "opening", "options", "ready", "receive", "signals", "wall",
            "watch",
        ],
    ),
];

/// Returns the bytes of code by part, the largest first. Inlined code of the standard library or of
/// other crates counts for its caller.
pub(super) fn parts(path: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("cannot read the line numbers of {}: {error}", path.display()))
    };
    let loader = Loader::new(path).map_err(|error| failed(&error))?;
    let text = loader.get_section_range(b".text").ok_or_else(|| failed(&"no .text"))?;
    let ranges =
        loader.find_location_range(text.begin, text.end).map_err(|error| failed(&error))?;
    let mut parts = BTreeMap::<String, u64>::new();
    let mut known = 0;
    for (begin, len, _) in ranges {
        let mut frames = loader.find_frames(begin).map_err(|error| failed(&error))?;
        let mut part = None;
        while let (None, Some(frame)) = (&part, frames.next().map_err(|error| failed(&error))?) {
            part = frame.location.and_then(|location| part_of(location.file?));
        }
        let part = part.unwrap_or_else(|| "Rust's core, rustix, heapless".to_owned());
        *parts.entry(part).or_default() += len;
        known += len;
    }
    let unknown = (text.end - text.begin).saturating_sub(known);
    parts.insert("without a line number".to_owned(), unknown);
    let mut parts: Vec<_> = parts.into_iter().filter(|&(_, bytes)| bytes > 0).collect();
    parts.sort_by(|(name, bytes), (other, others)| others.cmp(bytes).then(name.cmp(other)));
    Ok(parts)
}

/// Returns the part of the project that a file belongs to.
fn part_of(file: &str) -> Option<String> {
    if let Some((_, rest)) = file.rsplit_once("examples/logd/common/") {
        let name = rest.strip_suffix(".rs")?;
        let (about, _) = ABOUT.iter().find(|(_, names)| names.contains(&name))?;
        return Some(format!("logd: {about}"));
    }
    for name in ["ipc-frame", "ipc-transport", "ipc-barrier", "ipc-worker"] {
        if let Some((_, rest)) = file.rsplit_once(&format!("{name}/src/")) {
            let module = rest.split(['/', '.']).next()?;
            return Some(format!("{name}: {module}"));
        }
    }
    let is_ours = file.starts_with("src/") || file.contains("tinylogd/src/");
    is_ours.then(|| "tinylogd: start code, requests, memory".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart() {
        for (file, part) in [
            ("/a/ipc-worker/src/process/turn.rs", Some("ipc-worker: process")),
            ("/a/ipc-frame/src/queue.rs", Some("ipc-frame: queue")),
            ("/rustc/library/core/src/option.rs", None),
            ("src/start.rs", Some("tinylogd: start code, requests, memory")),
        ] {
            assert_eq!(part_of(file).as_deref(), part, "{file}");
        }
    }

    /// A file without a topic would count as another crate's.
    #[test]
    fn every_file_of_the_daemon_is_about_something() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../ipc-worker/examples/logd/common");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            assert!(part_of(&path.display().to_string()).is_some(), "{}", path.display());
        }
    }
}
