//! Every transport, as two connected ends. Where they differ, it is the left one that dies.

#![expect(unsafe_code, reason = "signal dispositions have no safe form")]

use ipc_transport::{Loopback, LoopbackEnd, Seqpacket, Stream};

pub(crate) fn stream() -> (Stream, Stream) {
    Stream::pair().unwrap()
}

pub(crate) fn seqpacket() -> (Seqpacket, Seqpacket) {
    Seqpacket::pair().unwrap()
}

pub(crate) fn seqpacket_of_small_packets() -> (Seqpacket<7>, Seqpacket<7>) {
    Seqpacket::pair().unwrap()
}

type End = LoopbackEnd<'static, 1000>;

pub(crate) fn loopback() -> (End, End) {
    Box::leak(Box::new(Loopback::<1000>::new())).ends()
}

/// Undoes what the standard library does at the start of a program.
pub(crate) fn sigpipe_kills() {
    // SAFETY: the default action involves no code of this program.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
