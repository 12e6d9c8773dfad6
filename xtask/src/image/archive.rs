//! The contents of the image, and the cpio archive that the kernel unpacks.

use std::io::{self, Cursor, Write};

use cpio::{NewcBuilder, newc::ModeFileType};

const INIT: &[u8] = include_bytes!("init.sh");
const COUNT: &[u8] = include_bytes!("count.awk");

/// The device numbers of /dev/console, which the kernel opens as init's standard streams
/// (devices.txt).
const CONSOLE: (u32, u32) = (5, 1);

/// A file of the image.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'static str,
    kind: Kind,
    pub(crate) content: &'a [u8],
}

enum Kind {
    Directory,
    Program,
    Text,
    Link,
    Device(u32, u32),
}

impl<'a> Entry<'a> {
    const fn new(name: &'static str, kind: Kind, content: &'a [u8]) -> Self {
        Self { name, kind, content }
    }

    fn header(&self) -> NewcBuilder {
        let (file_type, permissions) = match self.kind {
            Kind::Directory => (ModeFileType::Directory, 0o755),
            Kind::Program => (ModeFileType::Regular, 0o755),
            Kind::Text => (ModeFileType::Regular, 0o644),
            Kind::Link => (ModeFileType::Symlink, 0o777),
            Kind::Device(..) => (ModeFileType::Char, 0o600),
        };
        let header = NewcBuilder::new(self.name).mode(permissions).set_mode_file_type(file_type);
        match self.kind {
            Kind::Device(major, minor) => header.rdev_major(major).rdev_minor(minor),
            _ => header,
        }
    }
}

/// Returns the files of the image. Without busybox there is no shell, and the daemon is init.
pub(crate) fn entries<'a>(program: &'a [u8], busybox: Option<&'a [u8]>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'_>> = ["bin", "dev", "proc", "run", "sys"]
        .map(|name| Entry::new(name, Kind::Directory, &[]))
        .into();
    entries.push(Entry::new("dev/console", Kind::Device(CONSOLE.0, CONSOLE.1), &[]));
    entries.push(Entry::new("bin/tinylogd", Kind::Program, program));
    match busybox {
        Some(busybox) => entries.extend([
            Entry::new("bin/busybox", Kind::Program, busybox),
            Entry::new("count.awk", Kind::Text, COUNT),
            Entry::new("init", Kind::Program, INIT),
        ]),
        None => entries.push(Entry::new("init", Kind::Link, b"bin/tinylogd")),
    }
    entries
}

/// Writes the archive. Its bytes depend only on the entries.
pub(crate) fn write(entries: &[Entry<'_>], output: impl Write) -> io::Result<()> {
    let inputs = entries.iter().map(|entry| (entry.header(), Cursor::new(entry.content)));
    cpio::write_cpio(inputs, output)?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use cpio::NewcReader;

    use super::*;

    /// The name, mode, device numbers and content of an entry.
    type Found = (String, u32, (u32, u32), Vec<u8>);

    fn read(mut archive: &[u8]) -> Vec<Found> {
        let mut entries = Vec::new();
        loop {
            let mut reader = NewcReader::new(archive).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                return entries;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            archive = reader.finish().unwrap();
            let device = (entry.rdev_major(), entry.rdev_minor());
            entries.push((entry.name().to_owned(), entry.mode(), device, content));
        }
    }

    fn written(program: &[u8], busybox: Option<&[u8]>) -> Vec<Found> {
        let mut archive = Vec::new();
        write(&entries(program, busybox), &mut archive).unwrap();
        read(&archive)
    }

    #[test]
    fn archive_holds_what_the_kernel_and_init_need() {
        let entries = written(b"daemon", Some(b"shell"));
        let mut expected: Vec<_> = ["bin", "dev", "proc", "run", "sys"]
            .map(|name| (name.to_owned(), 0o040_755, (0, 0), Vec::new()))
            .into();
        expected.push(("dev/console".to_owned(), 0o020_600, (5, 1), Vec::new()));
        for (name, mode, content) in [
            ("bin/tinylogd", 0o100_755, b"daemon".as_slice()),
            ("bin/busybox", 0o100_755, b"shell"),
            ("count.awk", 0o100_644, COUNT),
            ("init", 0o100_755, INIT),
        ] {
            expected.push((name.to_owned(), mode, (0, 0), content.to_vec()));
        }
        assert_eq!(entries, expected);
        assert!(INIT.starts_with(b"#!/bin/busybox sh\n"));
    }

    #[test]
    fn daemon_is_init_where_there_is_no_shell() {
        let entries = written(b"daemon", None);
        let last = entries.last().unwrap();
        assert_eq!(
            (last.0.as_str(), last.1, last.3.as_slice()),
            ("init", 0o120_777, b"bin/tinylogd".as_slice())
        );
        assert!(entries.iter().all(|entry| entry.0 != "bin/busybox"));
    }
}
