//! Every transport, as two connected ends. If they differ, the left end is the one that dies.

#![expect(unsafe_code, reason = "signal dispositions and terminals need libc")]

use std::io::pipe;
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread::spawn;

use ipc_transport::{BytePair, Faults, Faulty, Loopback, LoopbackEnd, Ring, Seqpacket, Stream};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

pub(crate) fn stream() -> (Stream, Stream) {
    Stream::pair().unwrap()
}

pub(crate) fn seqpacket() -> (Seqpacket, Seqpacket) {
    Seqpacket::pair().unwrap()
}

pub(crate) fn seqpacket_of_small_packets() -> (Seqpacket<7>, Seqpacket<7>) {
    Seqpacket::pair().unwrap()
}

pub(crate) fn ring() -> (Ring, Ring) {
    Ring::pair(32768).unwrap()
}

pub(crate) fn small_ring() -> (Ring, Ring) {
    Ring::pair(2048).unwrap()
}

/// As small as a ring can be. The laws failed with anything less than 900 bytes.
pub(crate) fn tiny_ring() -> (Ring, Ring) {
    Ring::pair(64).unwrap()
}

pub(crate) fn tiny_loopback() -> (LoopbackEnd<'static, 5>, LoopbackEnd<'static, 5>) {
    Box::leak(Box::new(Loopback::<5>::new())).ends()
}

/// As small as the laws of descriptors allow.
pub(crate) fn small_loopback() -> (LoopbackEnd<'static, 256>, LoopbackEnd<'static, 256>) {
    Box::leak(Box::new(Loopback::<256>::new())).ends()
}

/// Two streams and threads that forward between them, so that bytes arrive at any time.
pub(crate) fn forwarded() -> (Stream, Stream) {
    let ((left, near), (far, right)) = (stream(), stream());
    for (from, to) in [(&near, &far), (&far, &near)] {
        let copy = |end: &Stream| UnixStream::from(end.as_fd().try_clone_to_owned().unwrap());
        let (mut from, mut to) = (copy(from), copy(to));
        spawn(move || {
            _ = std::io::copy(&mut from, &mut to);
            to.shutdown(Shutdown::Write)
        });
    }
    (left, right)
}

pub(crate) type End = LoopbackEnd<'static, 1000>;

pub(crate) fn loopback() -> (End, End) {
    Box::leak(Box::new(Loopback::<1000>::new())).ends()
}

pub(crate) fn pipes() -> (BytePair, BytePair) {
    let ((here, there), (home, back)) = (pipe().unwrap(), pipe().unwrap());
    let left = BytePair::new(home.into(), there.into()).unwrap();
    (left, BytePair::new(here.into(), back.into()).unwrap())
}

pub(crate) fn tcp() -> (BytePair, BytePair) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let left = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let right = listener.accept().unwrap().0;
    // Nagle's algorithm would delay this traffic.
    left.set_nodelay(true).unwrap();
    right.set_nodelay(true).unwrap();
    (BytePair::both(left.into()).unwrap(), BytePair::both(right.into()).unwrap())
}

/// A raw terminal and its controlling side. If that side ends first, bytes written to the terminal
/// are lost, so the terminal's end is the one that dies.
pub(crate) fn terminal() -> (BytePair, BytePair) {
    let (terminal, control) = pty(OFlags::empty());
    (BytePair::both(terminal).unwrap(), BytePair::both(control).unwrap())
}

pub(crate) fn terminal_without_waiting() -> (BytePair, BytePair) {
    let (terminal, control) = pty(OFlags::NONBLOCK);
    (BytePair::both(terminal).unwrap(), BytePair::both(control).unwrap())
}

fn pty(mode: OFlags) -> (OwnedFd, OwnedFd) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let control = openpt(flags).unwrap();
    grantpt(&control).unwrap();
    unlockpt(&control).unwrap();
    let name = ptsname(&control, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | mode;
    let terminal = rustix::fs::open(&name, flags, Mode::empty()).unwrap();
    make_raw(terminal.as_raw_fd());
    if mode.contains(OFlags::NONBLOCK) {
        rustix::fs::fcntl_setfl(&control, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
    }
    (terminal, control)
}

/// rustix is not used, since qemu-user does not know its request (`TCGETS2` of ioctl_tty(2)).
fn make_raw(terminal: RawFd) {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: the call fills in the attributes.
    assert_eq!(unsafe { libc::tcgetattr(terminal, attributes.as_mut_ptr()) }, 0);
    // SAFETY: the attributes were filled in.
    let attributes = unsafe { attributes.assume_init_mut() };
    // SAFETY: the call changes only the attributes.
    unsafe { libc::cfmakeraw(attributes) };
    // SAFETY: the call reads the attributes.
    assert_eq!(unsafe { libc::tcsetattr(terminal, libc::TCSANOW, attributes) }, 0);
}

pub(crate) fn harmless<T>((left, right): (T, T)) -> (Faulty<T>, Faulty<T>) {
    (Faulty::new(left, Faults::HARMLESS, 11), Faulty::new(right, Faults::HARMLESS, 12))
}

pub(crate) fn faulty_stream() -> (Faulty<Stream>, Faulty<Stream>) {
    harmless(stream())
}

pub(crate) fn faulty_seqpacket() -> (Faulty<Seqpacket>, Faulty<Seqpacket>) {
    harmless(seqpacket())
}

pub(crate) fn faulty_ring() -> (Faulty<Ring>, Faulty<Ring>) {
    harmless(ring())
}

pub(crate) fn faulty_loopback() -> (Faulty<End>, Faulty<End>) {
    harmless(loopback())
}

pub(crate) fn faulty_pipes() -> (Faulty<BytePair>, Faulty<BytePair>) {
    harmless(pipes())
}
