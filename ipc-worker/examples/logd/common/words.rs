//! Text for people: where it goes, and its parts.

use core::fmt;

use rustix::io::Errno;

/// Takes a line for people, without waiting.
pub(crate) type Say = fn(fmt::Arguments<'_>);

/// An error, displayed by its name in man pages.
pub(crate) struct Named(pub(crate) Errno);

impl Named {
    pub(crate) fn name(&self) -> &'static str {
        match self.0 {
            Errno::DQUOT => "EDQUOT",
            Errno::NOLCK => "ENOLCK",
            Errno::LOOP => "ELOOP",
            Errno::NAMETOOLONG => "ENAMETOOLONG",
            Errno::NOBUFS => "ENOBUFS",
            Errno::OPNOTSUPP => "EOPNOTSUPP",
            Errno::STALE => "ESTALE",
            other => ipc_transport::Errno::from(other).name().unwrap_or("error"),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0.raw_os_error())
    }
}

/// Text in memory of a fixed size. What does not fit is cut.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    memory: &'a mut [u8],
    len: usize,
}

impl<'a> Text<'a> {
    pub(crate) const fn new(memory: &'a mut [u8]) -> Self {
        Self { memory, len: 0 }
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.get(..self.len).unwrap_or_default()
    }

    /// Appends bytes, as far as they fit.
    #[inline(never)]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        let room = self.memory.get_mut(self.len..).unwrap_or_default();
        for (place, &byte) in room.iter_mut().zip(bytes) {
            *place = byte;
        }
        self.len += room.len().min(bytes.len());
    }

    /// Appends a number with at least `width` digits.
    pub(crate) fn put_number(&mut self, number: u64, width: u32) {
        let least = width.saturating_sub(1);
        let mut unit = 10_u64.pow(least.max(number.checked_ilog10().unwrap_or(0)));
        while unit > 0 {
            let digit = u8::try_from(number / unit % 10).unwrap_or(0);
            self.put(&[b'0' + digit]);
            unit /= 10;
        }
    }

    /// Returns the text as a line. If it is full, it is cut to make room for the end.
    pub(crate) fn ended(&mut self) -> &[u8] {
        self.len = self.len.min(self.memory.len().saturating_sub(1));
        self.put(b"\n");
        self.bytes()
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Text from outside, or that was cut. Bytes that are not UTF-8 are replaced.
pub(crate) struct Lossy<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Lossy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })?;
        }
        Ok(())
    }
}
