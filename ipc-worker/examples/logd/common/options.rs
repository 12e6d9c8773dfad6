//! The command line. Without a library: values become paths for the kernel in place, without memory
//! for a copy.

use core::ffi::CStr;
use core::fmt;
use core::time::Duration;

use rustix::fd::RawFd;

use super::log::Symlinks;
use super::policy::WhenFull;
use super::say::{Failed, fail};
use super::words::Lossy;
use crate::program::{INTAKE, MESSAGE, PROGRAM};

/// The smallest and the largest intake in bytes: room for long messages, and what a system may
/// have.
const INTAKES: [u64; 2] = [4 * MESSAGE as u64, 1 << 30];
/// The request of the command line.
pub(crate) enum Asked {
    Help,
    Version,
    Run(Options),
    /// Something that only this program offers.
    Other,
}

/// The result for an option that only this program may know.
pub(crate) enum Known {
    No,
    Yes,
    /// It requests something other than to run.
    Alone,
}

/// The options for a run.
pub(crate) struct Options {
    pub(crate) socket: &'static CStr,
    pub(crate) dir: &'static CStr,
    pub(crate) mode: u32,
    pub(crate) user: Option<&'static CStr>,
    pub(crate) group: Option<&'static CStr>,
    pub(crate) rotate_bytes: u64,
    pub(crate) keep: u32,
    pub(crate) intake: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) symlinks: Symlinks,
    pub(crate) trusted: bool,
    pub(crate) kernel: bool,
    pub(crate) pid_file: Option<&'static CStr>,
    pub(crate) ready_fd: Option<RawFd>,
    pub(crate) stop_within: Duration,
}

/// The arguments, one option at a time.
pub(crate) struct Arguments<I> {
    rest: I,
    option: &'static [u8],
    /// The value after `=`, until it is taken.
    attached: Option<&'static CStr>,
}

/// Parses the arguments after the program's name. `more` gets the options that not every such
/// daemon has.
pub(crate) fn parse<I: Iterator<Item = &'static CStr>>(
    arguments: I,
    mut more: impl FnMut(&mut Arguments<I>) -> Result<Known, Failed>,
) -> Result<Asked, Failed> {
    let mut arguments = Arguments { rest: arguments, option: b"", attached: None };
    let mut options = Options {
        socket: c"",
        dir: c"",
        mode: 0o666,
        user: None,
        group: None,
        rotate_bytes: 10 << 20,
        keep: 4,
        intake: INTAKE,
        when_full: WhenFull::Wait,
        symlinks: Symlinks::Refuse,
        trusted: false,
        kernel: false,
        pid_file: None,
        ready_fd: None,
        stop_within: Duration::from_secs(60),
    };
    while arguments.advance()? {
        match arguments.option {
            b"--socket" => options.socket = arguments.value()?,
            b"--dir" => options.dir = arguments.value()?,
            b"--mode" => options.mode = arguments.mode()?,
            b"--user" => options.user = Some(arguments.value()?),
            b"--group" => options.group = Some(arguments.value()?),
            b"--rotate-bytes" => options.rotate_bytes = arguments.number([1, u64::MAX])?,
            b"--keep" => options.keep = arguments.number([0, u32::MAX.into()])?,
            b"--intake" => options.intake = arguments.number(INTAKES)?,
            b"--when-full" => options.when_full = arguments.when_full()?,
            b"--follow-symlinks" => options.symlinks = Symlinks::Follow,
            b"--trusted" => options.trusted = true,
            b"--kernel" => options.kernel = true,
            b"--pid-file" => options.pid_file = Some(arguments.value()?),
            b"--ready-fd" => options.ready_fd = Some(arguments.number([3, i32::MAX as u64])?),
            b"--stop-within" => {
                options.stop_within = Duration::from_secs(arguments.number([0, u32::MAX.into()])?);
            }
            b"--help" | b"-h" => return Ok(Asked::Help),
            b"--version" => return Ok(Asked::Version),
            _ => match more(&mut arguments)? {
                Known::No => return Err(arguments.wrong(format_args!("is unknown"))),
                Known::Yes => {}
                Known::Alone => return Ok(Asked::Other),
            },
        }
    }
    // An empty name would bind an address that the kernel chooses and nobody knows.
    for (path, option) in [(options.socket, "--socket PATH"), (options.dir, "--dir DIR")] {
        if path.is_empty() {
            return Err(fail(format_args!("{option} is missing; try '{PROGRAM} --help'")));
        }
    }
    Ok(Asked::Run(options))
}

impl<I: Iterator<Item = &'static CStr>> Arguments<I> {
    /// Advances to the next option. Returns whether there is one.
    fn advance(&mut self) -> Result<bool, Failed> {
        if self.attached.is_some() {
            return Err(self.wrong(format_args!("takes no value")));
        }
        let Some(argument) = self.rest.next() else { return Ok(false) };
        let bytes = argument.to_bytes();
        let len = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        self.option = bytes.get(..len).unwrap_or(bytes);
        let value = argument.to_bytes_with_nul().get(len + 1..).unwrap_or_default();
        self.attached = CStr::from_bytes_with_nul(value).ok();
        Ok(true)
    }

    /// Returns the option's name.
    pub(crate) const fn option(&self) -> &'static [u8] {
        self.option
    }

    /// Takes the option's value: the text after `=`, or the next argument.
    pub(crate) fn value(&mut self) -> Result<&'static CStr, Failed> {
        let value = self.attached.take().or_else(|| self.rest.next());
        value.ok_or_else(|| self.wrong(format_args!("needs a value")))
    }

    /// Takes a decimal number within these limits.
    fn number<T: TryFrom<u64>>(&mut self, [least, most]: [u64; 2]) -> Result<T, Failed> {
        let value = self.value()?;
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        let number = number.filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
            self.unfit(value, format_args!("a number from {least} to {most} is needed"))
        })
    }

    fn mode(&mut self) -> Result<u32, Failed> {
        let value = self.value()?;
        let mode = value.to_str().ok().and_then(|text| u32::from_str_radix(text, 8).ok());
        mode.filter(|&mode| mode <= 0o777)
            .ok_or_else(|| self.unfit(value, format_args!("an octal number up to 777 is needed")))
    }

    fn when_full(&mut self) -> Result<WhenFull, Failed> {
        let value = self.value()?;
        match value.to_bytes() {
            b"wait" => Ok(WhenFull::Wait),
            b"drop-oldest" => Ok(WhenFull::DropOldest),
            b"drop-new" => Ok(WhenFull::DropNew),
            _ => Err(self.unfit(value, format_args!("wait, drop-oldest or drop-new is needed"))),
        }
    }

    /// Reports what is wrong with a value.
    pub(crate) fn unfit(&self, value: &CStr, why: fmt::Arguments<'_>) -> Failed {
        self.wrong(format_args!("{}: {why}", Lossy(value.to_bytes())))
    }

    fn wrong(&self, why: fmt::Arguments<'_>) -> Failed {
        fail(format_args!("{} {why}; try '{PROGRAM} --help'", Lossy(self.option)))
    }
}
