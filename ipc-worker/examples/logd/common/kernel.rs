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

/// How long after the boot a start counts as the first one, which takes all that is there. A later
/// one takes what is new: an earlier one had the rest.
const BOOT: Duration = Duration::from_secs(300);

/// How many records are passed over at once.
const SKIPPED: usize = 16;

/// Microseconds of a second.
const MICROS: u64 = 1_000_000;

/// Bytes in front of the text, at most.
const HEAD: usize = 64;

/// The device, if this process may read it.
pub(crate) struct Kernel(OwnedFd);

impl Kernel {
    /// Opens it. Where that is not permitted it is said, and the daemon runs without.
    pub(crate) fn open() -> Option<Self> {
        let opened = open_device();
        let trouble = |error: &Errno| {
            complain(format_args!("--kernel: /dev/kmsg: {}; going on without", Named(*error)));
        };
        opened.inspect_err(trouble).ok().map(Self)
    }

    /// Takes the next message, if there is one.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> Option<Datagram<'a>> {
        // What is made of a record lies in front of it.
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

    /// Reads a record, or passes one over.
    fn read(&self, record: &mut [u8]) -> ControlFlow<Option<usize>> {
        match read(&self.0, record) {
            Ok(len) => ControlFlow::Break(Some(len)),
            Err(Errno::INTR) => ControlFlow::Continue(()),
            Err(Errno::PIPE) => {
                complain(format_args!(
                    "messages of the kernel were overwritten before they were read"
                ));
                ControlFlow::Continue(())
            }
            // One that is too long, which no other call passes over.
            Err(Errno::INVAL) => {
                complain(format_args!(
                    "a message of the kernel was too long; going on with new ones"
                ));
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

/// Makes `<PRIORITY>kernel: [SECONDS] TEXT` of `PRIORITY,NUMBER,MICROSECONDS,…;TEXT`. What a program
/// has written to the device has a text of its own form.
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

/// Puts the text as it was written: the kernel shows bytes as `\xNN`, and the backslash too.
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
