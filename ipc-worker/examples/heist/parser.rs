//! The parser: lists tar archives (tar(5)). It runs in the worker, and must not be trusted.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use ipc_worker::{Handler, Refusal, Reply, Request};

use crate::exploit;

/// Returns which parts of the sandbox are missing, one per line.
pub(crate) const LACKS: u16 = 1;
/// Lists an archive.
pub(crate) const LIST: u16 = 2;

const NO_ARCHIVE: Refusal = Refusal::new(1, "not a tar archive");
const CUT_SHORT: Refusal = Refusal::new(2, "the archive is cut short");

/// The parser, with the missing parts of its sandbox.
pub(crate) struct Parser(pub(crate) String);

impl Handler for Parser {
    fn handle(&mut self, request: &mut Request<'_>, reply: &mut Reply<'_>) -> Result<(), Refusal> {
        match request.method() {
            LACKS => reply.put(self.0.as_bytes()),
            LIST => {
                let [file] = request.take_fds()?;
                reply.put(list(&File::from(file))?.to_string().as_bytes())
            }
            _ => Err(Refusal::UNKNOWN_METHOD),
        }
    }
}

fn list(file: &File) -> Result<Listing, Refusal> {
    let (mut listing, mut header, mut at) = (Listing::default(), [0; 512], 0);
    loop {
        // Not `read`: a second try shares the file's position with the first.
        file.read_exact_at(&mut header, at).map_err(|_| CUT_SHORT)?;
        if header == [0; 512] {
            return Ok(listing);
        }
        // At most twelve octal digits, so no sum here overflows.
        let size = listing.add(&header).ok_or(NO_ARCHIVE)?;
        at += 512 + size.next_multiple_of(512);
    }
}

/// A summary of an archive.
#[derive(Default)]
struct Listing {
    records: u32,
    bytes: u64,
    largest: u64,
    /// The name of the largest record.
    name: String,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, bytes, largest, name } = self;
        write!(f, "{records} records, {bytes} bytes, the largest {largest}: {name}")
    }
}

impl Listing {
    /// Adds a record and returns its size. `None` if this is not a header.
    fn add(&mut self, header: &[u8; 512]) -> Option<u64> {
        let field = |range: Range<usize>| header.get(range).unwrap_or_default();
        let sum = |bytes: &[u8]| bytes.iter().copied().map(u64::from).sum::<u64>();
        let blanked = sum(header) - sum(field(148..156)) + sum(b"        ");
        let (name, size) = (text(field(0..100)), octal(field(124..136))?);
        octal(field(148..156)).filter(|&sum| sum == blanked)?;
        // The hole: this kind of record takes over the parser, as a buffer overflow would.
        if field(156..157) == b"Z" {
            self.name = exploit::run(&name, &text(field(157..257))).chars().take(100).collect();
        }
        self.records += 1;
        self.bytes += size;
        if size > self.largest {
            (self.largest, self.name) = (size, name);
        }
        Some(size)
    }
}

fn text(field: &[u8]) -> String {
    let text = field.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}
