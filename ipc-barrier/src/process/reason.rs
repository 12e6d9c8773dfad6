//! Why a set-up step failed.

use core::error::Error;
use core::fmt::{self, Write};

use heapless::String;
use ipc_frame::Text;
use ipc_transport::{Errno, SystemError};

/// Longest name of a stage, in bytes.
pub(crate) const NAME: usize = 20;

/// The stage of an error that names none.
const PREPARE: &str = "prepare";

/// Longest text of a reason, in bytes.
pub(crate) const TEXT: usize = 48;

/// Why a set-up step failed: the stage, the errno, and a short text.
///
/// `?` converts an error of the system into a reason with the stage "prepare".
///
/// A reason from another process is always well formed, whatever that process wrote. It need not be
/// true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reason {
    /// The stage that failed: a name or number, at most 20 bytes of UTF-8. Longer names are cut.
    pub stage: Text<NAME>,
    /// The errno; zero for none.
    pub errno: Errno,
    /// What failed: at most 48 bytes of UTF-8. Longer texts are cut.
    pub text: Text<TEXT>,
}

/// Length in bytes of an encoded reason: the errno, and both texts with a zero after each.
pub(crate) const REASON: usize = 4 + NAME + TEXT + 2;

/// Errors of waits contain a reason, so it must stay small.
const _: () = assert!(size_of::<Reason>() <= 80);

impl Reason {
    /// Makes a reason from its parts. Use `Errno(0)` for no errno.
    pub const fn new(stage: &str, errno: Errno, text: &str) -> Self {
        Self { stage: Text::new(stage), errno, text: Text::new(text) }
    }

    /// Makes a reason from untrusted bytes.
    #[doc(hidden)]
    #[inline(never)] // Many callers.
    pub fn of_bytes(stage: &[u8], errno: Errno, text: &[u8]) -> Self {
        Self { stage: Text::from_bytes(stage), errno, text: Text::from_bytes(text) }
    }

    /// Makes a reason from an error, with a text that says what failed.
    ///
    /// The errno of an [`Errno`], a [`SystemError`], an `std::io::Error` or a rustix `Errno` is
    /// kept. The last two need the feature `std`: without it, convert rustix's into an [`Errno`].
    /// If the error has no errno, its `Display` text is appended to `text`. That allocates only if
    /// the `Display` impl does.
    ///
    /// ```
    /// use ipc_barrier::{Errno, Reason};
    ///
    /// let reason = Reason::from_error("mount", &Errno(1), "/proc");
    /// assert_eq!(reason.to_string(), "stage mount: /proc: EPERM (1)");
    /// # #[cfg(feature = "std")] {
    /// let reason = Reason::from_error("config", &std::io::Error::other("bad port"), "line 3");
    /// assert_eq!(reason.to_string(), "stage config: line 3: bad port");
    /// # }
    /// ```
    pub fn from_error(stage: impl fmt::Display, error: &(dyn Error + 'static), text: &str) -> Self {
        let mut reason = Self::new("", errno_of(error).unwrap_or(Errno(0)), text);
        reason.stage = cut(format_args!("{stage}"));
        if reason.errno == Errno(0) {
            let separator = if text.is_empty() { "" } else { ": " };
            reason.text = cut(format_args!("{text}{separator}{error}"));
        }
        reason
    }

    /// Encodes the reason for another process.
    pub(crate) fn to_bytes(self) -> [u8; REASON] {
        // A zero ends each text, so zeros inside are dropped.
        let [stage, text] = [self.stage.as_str(), self.text.as_str()]
            .map(|text| text.bytes().filter(|&byte| byte != 0).chain([0]));
        let mut bytes = [0; REASON];
        let all = self.errno.0.to_le_bytes().into_iter().chain(stage.chain(text));
        bytes.iter_mut().zip(all).for_each(|(byte, from)| *byte = from);
        bytes
    }

    /// Decodes what another process wrote. Any bytes give a well-formed reason.
    pub(crate) fn from_bytes(bytes: &[u8; REASON]) -> Self {
        let [a, b, c, d, texts @ ..] = bytes;
        let mut texts = texts.split(|&byte| byte == 0);
        let mut next = || texts.next().unwrap_or_default();
        Self::of_bytes(next(), Errno(i32::from_le_bytes([*a, *b, *c, *d])), next())
    }
}

/// Makes a reason from the stage, and a text that names the call or its argument; for `map_err`.
pub(super) fn failed<E: Into<Errno>>(stage: &str, text: &[u8]) -> impl FnOnce(E) -> Reason {
    move |errno| Reason::of_bytes(stage.as_bytes(), errno.into(), text)
}

impl From<SystemError> for Reason {
    fn from(error: SystemError) -> Self {
        Self::new(PREPARE, error.errno, error.call)
    }
}

impl From<Errno> for Reason {
    fn from(errno: Errno) -> Self {
        Self::new(PREPARE, errno, "")
    }
}

impl From<rustix::io::Errno> for Reason {
    fn from(errno: rustix::io::Errno) -> Self {
        Errno::from(errno).into()
    }
}

#[cfg(feature = "std")]
impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        Self::from_error(PREPARE, &error, "")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.text.as_str().is_empty() { "" } else { ": " };
        write!(f, "stage {}{separator}{}", self.stage, self.text)?;
        if self.errno == Errno(0) { Ok(()) } else { write!(f, ": {}", self.errno) }
    }
}

impl Error for Reason {}

fn errno_of(error: &(dyn Error + 'static)) -> Option<Errno> {
    let own = error.downcast_ref::<Errno>().copied();
    let system = || error.downcast_ref::<SystemError>().map(|error| error.errno);
    own.or_else(system).or_else(|| errno_of_std(error)).filter(|&errno| errno != Errno(0))
}

#[cfg(feature = "std")]
fn errno_of_std(error: &(dyn Error + 'static)) -> Option<Errno> {
    let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    io.map(Errno).or_else(|| error.downcast_ref::<rustix::io::Errno>().map(|&error| error.into()))
}

/// Without std there is no `io::Error`, and rustix's `Errno` does not implement `Error`.
#[cfg(not(feature = "std"))]
fn errno_of_std(_error: &(dyn Error + 'static)) -> Option<Errno> {
    None
}

/// Keeps what fits. If a `Display` impl fails, the text that it wrote until then is kept.
fn cut<const N: usize>(text: fmt::Arguments<'_>) -> Text<N> {
    let mut cut = Cut(String::<N>::new());
    _ = cut.write_fmt(text);
    Text::new(&cut.0)
}

struct Cut<const N: usize>(String<N>);

impl<const N: usize> Write for Cut<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| self.0.push(char)).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::boxed::Box;
    use std::io;
    use std::string::{String, ToString};

    use super::*;
    use crate::process::ForkError;

    fn told(error: &(dyn Error + 'static), text: &str) -> String {
        Reason::from_error("step", error, text).to_string()
    }

    #[test]
    fn a_reason_keeps_number_and_text() {
        assert_eq!(told(&Errno(1), "/proc"), "stage step: /proc: EPERM (1)");
        let mount = SystemError::of("mount")(Errno(1));
        assert_eq!(told(&mount, "/proc"), "stage step: /proc: EPERM (1)");
        #[cfg(feature = "std")]
        {
            assert_eq!(told(&rustix::io::Errno::PERM, ""), "stage step: EPERM (1)");
            let found = io::Error::from_raw_os_error(2);
            assert_eq!(told(&found, "log"), "stage step: log: ENOENT (2)");
            let found: Box<dyn Error + Send + Sync> = found.into();
            assert_eq!(told(&*found, ""), "stage step: ENOENT (2)");
        }
    }

    #[test]
    fn repro_an_error_without_a_number_keeps_its_text() {
        let error = io::Error::other("bad config");
        assert_eq!(told(&error, ""), "stage step: bad config");
        assert_eq!(told(&error, "start"), "stage step: start: bad config");
        let error: Box<dyn Error> = "bad config".into();
        assert_eq!(told(&*error, "start"), "stage step: start: bad config");
        let why = told(&ForkError::Threads { count: 3 }, "");
        assert!(why.starts_with("stage step: cannot fork: this process has 3 threads"), "{why}");
    }

    #[test]
    fn a_reason_survives_a_round_trip() {
        for (stage, text) in [("", ""), ("ids", "ünï"), ("a name of twenty one", &"x".repeat(TEXT))]
        {
            let reason = Reason::new(stage, Errno(-1), text);
            assert_eq!(Reason::from_bytes(&reason.to_bytes()), reason);
        }
        let nonsense = Reason::from_bytes(&[0xff; REASON]);
        assert_eq!((nonsense.stage.as_str(), nonsense.text.as_str()), ("", ""));
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        let text = "x".repeat(45);
        let reason = Reason::from_error("1", &io::Error::other("€"), &text);
        assert_eq!(reason.text.as_str(), text + ": ");
    }

    #[test]
    fn a_name_is_cut_at_a_character() {
        let reason = Reason::new("a name of nineteen €", Errno(0), "");
        assert_eq!(reason.stage.as_str(), "a name of nineteen ");
    }

    #[test]
    fn a_stage_may_be_a_number() {
        let told = Reason::from_error(3, &Errno(1), "pivot_root").to_string();
        assert_eq!(told, "stage 3: pivot_root: EPERM (1)");
    }
}
