//! What really happened, in a file that outlives every worker. A record is a few bytes appended by
//! one write, which no kill can tear.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

/// Size of a record; a page is a multiple of it.
const SIZE: usize = 16;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A worker has started. Not about a request.
    Born = 1,
    /// The handler has the request.
    Begun,
    /// The handler is about to return.
    Ended,
    /// The request does not have what was sent with it.
    Wrong,
    /// Main was told the outcome.
    Told,
}

const ALL: [What; 5] = [What::Born, What::Begun, What::Ended, What::Wrong, What::Told];

/// A record: which request, and by or about which process; 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) number: u32,
    pub(crate) what: What,
    pub(crate) pid: u32,
}

/// Creates an empty file of records.
pub(crate) fn make(home: &Path) {
    File::create_new(home.join("record")).unwrap();
}

/// Opens the file of records for appending.
pub(crate) fn open(home: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).open(home.join("record"))
}

/// Appends a record.
pub(crate) fn add(mut file: &File, Record { number, what, pid }: Record) {
    let bytes = [number, what as u32, pid, 0].map(u32::to_le_bytes);
    file.write_all(bytes.as_flattened()).unwrap();
}

/// Reads all records, in order.
pub(crate) fn read(home: &Path) -> Vec<Record> {
    let bytes = std::fs::read(home.join("record")).unwrap();
    assert_eq!(bytes.len() % SIZE, 0, "a torn record");
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
    let records = bytes.chunks(SIZE).map(|bytes| {
        let what = ALL.into_iter().find(|&what| what as u32 == word(&bytes[4..8])).unwrap();
        Record { number: word(&bytes[..4]), what, pid: word(&bytes[8..12]) }
    });
    records.collect()
}
