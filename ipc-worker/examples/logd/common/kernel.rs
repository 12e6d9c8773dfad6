//! Messages of the kernel, from `/dev/kmsg` (Documentation/ABI/testing/dev-kmsg, Linux 3.5).

use core::ops::ControlFlow;
use core::time::Duration;

use ipc_transport::Instant;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, SeekFrom, open, seek};
use rustix::io::{Errno, read};

use super::line::{Datagram, Sender};
use super::say::complain;
use super::wall;
use super::words::{Named, Text};

/// How long after boot a start counts as the first one, which takes all records. A later start
/// takes only new ones: an earlier one had the rest.
const BOOT: Duration = Duration::from_secs(300);

/// How many records to skip at once.
const SKIPPED: usize = 16;

/// Microseconds per second.
const MICROS: u64 = 1_000_000;

/// Most bytes before the text.
const HEAD: usize = 64;

/// The device, if this process may read it.
pub(crate) struct Kernel(OwnedFd);

impl Kernel {
    /// Opens the device. If that is not permitted, reports it and continues without.
    pub(crate) fn open() -> Option<Self> {
        let opened = open_device();
        let trouble = |error: &Errno| {
            complain(format_args!("--kernel: /dev/kmsg: {}; continuing without", Named(*error)));
        };
        opened.inspect_err(trouble).ok().map(Self)
    }

    /// Returns the next message, if there is one.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<Datagram<'a>> {
        // The message is composed before the record it is made from.
        let (made, record) = buffer.split_at_mut(buffer.len() / 2 + HEAD);
        let len = (0..SKIPPED).find_map(|_| match self.read(record) {
            ControlFlow::Break(len) => Some(len),
            ControlFlow::Continue(()) => None,
        });
        let record = record.get(..len??)?;
        let mut text = Text::new(made);
        put_message(&mut text, record)?;
        let len = text.bytes().len();
        let bytes = buffer.get(..len)?;
        Some(Datagram { received: wall::now(), sender: Sender::Kernel, bytes, missing: 0 })
    }

    /// Reads a record, or skips one.
    fn read(&self, record: &mut [u8]) -> ControlFlow<Option<usize>> {
        match read(&self.0, record) {
            Ok(len) => ControlFlow::Break(Some(len)),
            Err(Errno::INTR) => ControlFlow::Continue(()),
            Err(Errno::PIPE) => {
                complain(format_args!("kernel messages were overwritten before they were read"));
                ControlFlow::Continue(())
            }
            // The record is too long, and no other call skips it.
            Err(Errno::INVAL) => {
                complain(format_args!("a kernel message was too long; continuing with new ones"));
                _ = seek(&self.0, SeekFrom::End(0));
                ControlFlow::Continue(())
            }
            Err(_) => ControlFlow::Break(None),
        }
    }
}

impl AsFd for Kernel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open_device() -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let device = open(c"/dev/kmsg", flags, Mode::empty())?;
    if Instant::now().since(Instant::PAST) > BOOT {
        seek(&device, SeekFrom::End(0))?;
    }
    Ok(device)
}

/// Turns `PRIORITY,NUMBER,MICROSECONDS,…;TEXT` into `<PRIORITY>kernel: [SECONDS] TEXT`. A record
/// that a program wrote to the device keeps its text unchanged.
pub(crate) fn put_message(text: &mut Text<'_>, record: &[u8]) -> Option<()> {
    let line = record.split(|&byte| byte == b'\n').next()?;
    let len = line.iter().position(|&byte| byte == b';')?;
    let mut fields = line.get(..len)?.split(|&byte| byte == b',');
    let (priority, time) = (fields.next()?, fields.nth(1)?);
    text.put(b"<");
    text.put(priority);
    text.put(b">");
    if priority.len() == 1 {
        let time: u64 = core::str::from_utf8(time).ok()?.parse().ok()?;
        text.put(b"kernel: [");
        text.put_number(time / MICROS, 1);
        text.put(b".");
        text.put_number(time % MICROS, 6);
        text.put(b"] ");
    }
    put_text(text, line.get(len + 1..)?);
    Some(())
}

/// Appends the original text: the kernel escapes some bytes, and the backslash, as `\xNN`.
fn put_text(text: &mut Text<'_>, mut escaped: &[u8]) {
    while let Some((&byte, rest)) = escaped.split_first() {
        let shown = escaped.strip_prefix(b"\\x").and_then(|rest| rest.split_at_checked(2));
        let byte = match shown.and_then(|(digits, rest)| Some((value(digits)?, rest))) {
            Some((value, after)) => {
                escaped = after;
                value
            }
            None => {
                escaped = rest;
                byte
            }
        };
        text.put(&[byte]);
    }
}

fn value(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}
