//! A pair of descriptors, one to read from and one to write to.

use heapless::Vec;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::io::{Errno, IoSlice, ReadWriteFlags};

use crate::contract::{Moved, PIECES, SystemError, Transport, TransportError, cut};
use crate::descriptor::{above_stdio, duplicate};
use crate::unix::calls::{Calls, Mode, Way};
use crate::waiting::{Interest, Watched, look};

/// How much a pipe that polls writable takes without waiting (`PIPE_BUF`, pipe(7)).
const PIPE_LEN: usize = 4096;

/// `RWF_NOSIGNAL`, kernel 6.18.
const NOSIGNAL: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x100);

/// A transport over any descriptors that carry bytes: the ends of two pipes, a TCP or vsock
/// connection, a terminal, a character device such as `/dev/rpmsg0`. It carries no descriptors.
///
/// The descriptors' `O_NONBLOCK` flag, which other processes may share, is never changed. No call
/// waits:
///
/// - Each call on a socket passes `MSG_DONTWAIT`.
/// - All other descriptors are polled first (poll(2)), which costs one more system call. A blocking
///   pipe then gets at most 4,096 bytes per call. A blocking terminal gets single bytes, since poll
///   promises no more room; if that is too slow, open it with `O_NONBLOCK`. If another process
///   reads or writes at the same end of a blocking pipe or device, a call may wait.
///
/// That poll also shows that a pipe's reader has ended. If it ends between the poll and the write,
/// kernels before 6.18 raise `SIGPIPE`: ignore that signal, as Rust programs with `std` do.
///
/// A terminal passes bytes unchanged only in raw mode (termios(3)). Its hang-up (`EIO`) counts as
/// the end. A device that delivers messages needs space for a whole message. If a TCP peer ends
/// with unread bytes, TCP drops the bytes in flight to it. TCP notices a peer that lost power only
/// through its own timeouts.
///
/// ```
/// use ipc_transport::{BytePair, Transport};
///
/// let (input, output) = std::io::pipe()?;
/// let mut echo = BytePair::new(input.into(), output.into())?;
/// echo.send(&[b"he", b"llo"])?;
/// let mut space = [0; 8];
/// assert_eq!(echo.receive(&mut space)?, Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Since it cannot carry descriptors, this compiles with a stream:
///
/// ```
/// fn pass(to: &mut ipc_transport::Stream, fd: rustix::fd::BorrowedFd<'_>) {
///     _ = ipc_transport::PassFds::send_with(to, &[b"x"], &[fd]);
/// }
/// ```
///
/// but not with a byte pair:
///
/// ```compile_fail,E0277
/// fn pass(to: &mut ipc_transport::BytePair, fd: rustix::fd::BorrowedFd<'_>) {
///     _ = ipc_transport::PassFds::send_with(to, &[b"x"], &[fd]);
/// }
/// ```
#[derive(Debug)]
pub struct BytePair {
    input: End,
    output: End,
}

/// One descriptor, and how to keep its calls from waiting.
#[derive(Debug)]
struct End {
    fd: OwnedFd,
    is_socket: bool,
    is_terminal: bool,
    /// The most bytes per write.
    longest: usize,
    /// The kernel supports writing without `SIGPIPE`.
    without_signal: bool,
}

impl BytePair {
    /// Takes over a descriptor to read from and one to write to.
    ///
    /// # Errors
    /// `EMFILE` if one is below 3 and cannot be moved. Both are then closed.
    pub fn new(input: OwnedFd, output: OwnedFd) -> Result<Self, SystemError> {
        Ok(Self { input: End::new(input)?, output: End::new(output)? })
    }

    /// Takes over one descriptor for both directions.
    ///
    /// # Errors
    /// `EMFILE` if it cannot be duplicated. It is then closed.
    pub fn both(fd: OwnedFd) -> Result<Self, SystemError> {
        let output = duplicate(fd.as_fd())?;
        Self::new(fd, output)
    }

    /// Returns the descriptor to read from, for waiting for input.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.fd.as_fd()
    }

    /// Returns the descriptor to write to, for waiting for room.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.fd.as_fd()
    }
}

impl Transport for BytePair {
    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        let answer = self.output.send(pieces);
        Ok(self.output.told(answer)?.filter(|&len| len > 0))
    }

    fn receive(&mut self, space: &mut [u8]) -> Moved {
        if space.is_empty() {
            return Ok(None);
        }
        match self.input.told(self.input.receive(space)) {
            Ok(Some(0)) => Err(TransportError::Closed),
            answer => answer,
        }
    }
}

impl End {
    fn new(fd: OwnedFd) -> Result<Self, SystemError> {
        let fd = above_stdio(fd)?;
        let stat = rustix::fs::fstat(&fd).map_err(SystemError::of("fstat"))?;
        let mode = rustix::fs::fcntl_getfl(&fd).map_err(SystemError::of("fcntl"))?;
        let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
        let is_terminal = rustix::termios::isatty(&fd);
        let longest = match (is_socket || mode.contains(OFlags::NONBLOCK), is_terminal) {
            (true, _) => usize::MAX,
            (false, true) => 1,
            (false, false) => PIPE_LEN,
        };
        Ok(Self { fd, is_socket, is_terminal, longest, without_signal: true })
    }

    fn send(&mut self, pieces: &[&[u8]]) -> Moved {
        let calls = Calls { fd: self.fd.as_fd(), mode: Mode::NonBlocking };
        if self.is_socket {
            return calls.send(pieces, self.longest, &[]);
        }
        let slices: Vec<_, PIECES> = cut(pieces, self.longest).map(IoSlice::new).collect();
        if slices.is_empty() {
            return Ok(None);
        }
        let seen =
            look(Watched::new(calls.fd, Interest::Output)).map_err(TransportError::System)?;
        if seen.is_over() {
            return Err(TransportError::Closed);
        }
        if !seen.is_ready() {
            return Ok(None);
        }
        calls.repeat("writev", Way::Send, |fd, _| {
            if self.without_signal {
                // At the file's own position, as write(2) does.
                match rustix::io::pwritev2(fd, &slices, u64::MAX, NOSIGNAL) {
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::PERM) => {}
                    answer => return answer,
                }
                self.without_signal = false;
            }
            rustix::io::writev(fd, &slices)
        })
    }

    fn receive(&self, space: &mut [u8]) -> Moved {
        let calls = Calls { fd: self.fd.as_fd(), mode: Mode::NonBlocking };
        if self.is_socket {
            return Ok(calls.receive(space)?.map(|received| received.len));
        }
        // The read reports the end, after all bytes that were written.
        let seen = look(Watched::new(calls.fd, Interest::Input)).map_err(TransportError::System)?;
        if !seen.is_ready() {
            return Ok(None);
        }
        calls.repeat("read", Way::Receive, |fd, _| rustix::io::read(fd, &mut *space))
    }

    /// Maps a terminal's hang-up to the end.
    fn told(&self, answer: Moved) -> Moved {
        match answer {
            Err(TransportError::System(SystemError { errno, .. }))
                if self.is_terminal && errno == Errno::IO.into() =>
            {
                Err(TransportError::Closed)
            }
            answer => answer,
        }
    }
}
