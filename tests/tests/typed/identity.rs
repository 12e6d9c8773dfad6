//! What a declaration's fingerprint covers, and that starts compare it.

use ipc_tests::over;
use std::collections::HashSet;
use std::os::fd::OwnedFd;

use ipc_worker::{Identity, Request, Start, StartError, Worker};

use crate::service::*;

/// Declares services that nothing serves.
macro_rules! declared {
    ($($service:ident { $($methods:tt)* })+) => {
        $(ipc_worker::service! { mod $service { $($methods)* } })+
    };
}

declared! {
    first { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> u8; }
    equal {
        /// Documented, and formatted differently.
        1 => fn put(
            at: u64,
            text: &str,
            fds: [OwnedFd; 1]
        ) -> u8, again Never, quick;
        #[cfg(any())]
        2 => fn absent();
    }
    number { 2 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> u8; }
    name { 1 => fn pot(at: u64, text: &str, fds: [OwnedFd; 1]) -> u8; }
    argument { 1 => fn put(at: u32, text: &str, fds: [OwnedFd; 1]) -> u8; }
    swapped { 1 => fn put(text: &str, at: u64, fds: [OwnedFd; 1]) -> u8; }
    result { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> u16; }
    no_result { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]); }
    fds { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 2]) -> u8; }
    no_fds { 1 => fn put(at: u64, text: &str) -> u8; }
    reply_fds { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> (u8, [OwnedFd; 1]); }
    more_reply_fds { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> (u8, [OwnedFd; 2]); }
    golden {
        1 => fn all(line: Line<'_>, list: Vec<Option<(u8, i8)>>, at: [u64; 1 << 2]) -> Box<str>;
        0x10 => fn open(request: &Request<'_>, path: &str) -> (Vec<(u8,)>, [OwnedFd; 1 + 1]);
        3 => fn map(map: std::collections::BTreeMap<String, Vec<u8>>) -> (u8, [i16; 2]);
    }
    another { 1 => fn put(at: u64, text: &str, fds: [OwnedFd; 1]) -> u8; 2 => fn sync(); }
}

pub(crate) fn equal_declarations_have_one_fingerprint_and_others_another() {
    assert_eq!(first::IDENTITY.fingerprint, equal::IDENTITY.fingerprint);
    let all = [
        first::IDENTITY,
        number::IDENTITY,
        name::IDENTITY,
        argument::IDENTITY,
        swapped::IDENTITY,
        result::IDENTITY,
        no_result::IDENTITY,
        fds::IDENTITY,
        no_fds::IDENTITY,
        reply_fds::IDENTITY,
        more_reply_fds::IDENTITY,
        another::IDENTITY,
    ];
    let different: HashSet<u64> = all.iter().map(|identity| identity.fingerprint).collect();
    assert_eq!(different.len(), all.len(), "{all:?}");
    // Main and worker may come from two compilers: Rust 1.87 and 1.95 agree on this.
    assert_eq!(golden::IDENTITY.fingerprint, 0xd0c7_9509_edcf_d086);
    let Identity { build, service, .. } = first::IDENTITY;
    assert_eq!((build, service), (concat!("ipc-tests ", env!("CARGO_PKG_VERSION")), "first"));
}

pub(crate) fn a_worker_that_serves_what_main_expects_starts_and_another_is_named() {
    let start = || over::fork(disk::Server(Disk::default()));
    let mut worker = Worker::<u32, _>::start(start().expects(&disk::IDENTITY)).unwrap();
    disk::nothing::call(&mut worker, 1).unwrap();
    reply(&mut worker, |reply| disk::nothing::result(&reply).unwrap());

    let by_fork = Worker::<u32, _>::start(start().expects(&echo::IDENTITY)).unwrap_err();
    let inline = Start::inline(disk::Server(Disk::default())).expects(&echo::IDENTITY);
    for error in [by_fork, Worker::<u32, _>::start(inline).unwrap_err()] {
        let StartError::OtherService { ours, .. } = error else { panic!("{error}") };
        assert_eq!(*ours, echo::IDENTITY);
        let told = error.to_string();
        for identity in [disk::IDENTITY, echo::IDENTITY] {
            assert!(told.contains(&identity.to_string()), "{told}: {identity}");
        }
    }
}
