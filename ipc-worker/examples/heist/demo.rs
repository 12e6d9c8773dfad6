//! The demonstration: harmless files, and one of each hostile kind.

use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::archive::archive;

/// Creates the files in a directory, and returns their paths relative to it.
pub(crate) fn fill(dir: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let letters = archive(&[('0', "to-alice", "", &[b'a'; 700]), ('0', "to-bob", "", b"Hello")]);
    fs::write(dir.join("letters.tar"), &letters)?;
    let mut names = vec!["letters.tar".to_owned()];
    for what in ["open", "socket", "write", "panic", "hoard", "spin"] {
        let name = format!("{what}.tar");
        fs::write(dir.join(&name), archive(&[('Z', what, "/etc/passwd", b"")]))?;
        names.push(name);
    }
    let escape = archive(&[('0', "\x1b[2J\x1b[31mred", "", b"clears the terminal")]);
    fs::write(dir.join("escape.tar"), escape)?;
    fs::write(dir.join("no-archive"), [b'?'; 2000])?;
    symlink("/etc/passwd", dir.join("link"))?;
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::RUSR, 0)?;
    names.extend(["escape.tar", "no-archive", "link", "fifo", "../passwd"].map(str::to_owned));
    names.push("letters.tar".to_owned());
    Ok(names.into_iter().map(PathBuf::from).collect())
}
