//! Words for people: where they go, and pieces of them.

use core::fmt;

use rustix::io::Errno;

/// Takes a line for people, without waiting.
pub(crate) type Say = fn(fmt::Arguments<'_>);

/// An error by the name that man pages have for it.
pub(crate) struct Named(pub(crate) Errno);

impl Named {
    pub(crate) fn name(&self) -> &'static str {
        match self.0 {
            Errno::DQUOT => "EDQUOT",
            Errno::NOLCK => "ENOLCK",
            Errno::LOOP => "ELOOP",
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

/// Text in memory of a fixed size, as far as it fits.
#[derive(Debug)]
pub(crate) struct Text<B> {
    memory: B,
    len: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Text<B> {
    pub(crate) const fn new(memory: B) -> Self {
        Self { memory, len: 0 }
    }

    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.as_ref().get(..self.len).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Extend<u8> for Text<B> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        let room = self.memory.as_mut().get_mut(self.len..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = byte;
            self.len += 1;
        }
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> fmt::Write for Text<B> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.extend(text.bytes());
        Ok(())
    }
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> fmt::Display for Text<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes().utf8_chunks() {
            f.write_str(chunk.valid())?;
            // A character that did not fit.
            f.write_str(if chunk.invalid().is_empty() { "" } else { "\u{fffd}" })?;
        }
        Ok(())
    }
}
