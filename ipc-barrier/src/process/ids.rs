//! A process's user, groups, and whether they are what was asked for.

#![expect(unsafe_code, reason = "ids by system calls that rustix lacks, or only has with a heap")]

use ipc_transport::Errno;
use syscalls::{Sysno, syscall};

use super::reason::{Reason, failed};

/// Most supplementary groups.
pub(super) const GROUPS: usize = 64;

/// The calls that know ids of 32 bits.
#[cfg(not(any(target_arch = "arm", target_arch = "sparc", target_arch = "x86")))]
mod call {
    pub(super) use syscalls::Sysno::{
        getgroups, getresgid, getresuid, setgroups, setresgid, setresuid,
    };
}
#[cfg(any(target_arch = "arm", target_arch = "sparc", target_arch = "x86"))]
mod call {
    pub(super) use syscalls::Sysno::{
        getgroups32 as getgroups, getresgid32 as getresgid, getresuid32 as getresuid,
        setgroups32 as setgroups, setresgid32 as setresgid, setresuid32 as setresuid,
    };
}

/// The ids that a process is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: &'a [u32],
}

impl Ids<'_> {
    /// Sets them, of this thread alone, and looks whether they are set: the real, effective and
    /// saved ones.
    pub(super) fn take(&self) -> Result<(), Reason> {
        let Self { uid, gid, groups } = *self;
        if uid == u32::MAX || gid == u32::MAX || groups.len() > GROUPS {
            return Err(failed("ids", b"invalid")(Errno(22)));
        }
        // SAFETY: the kernel only reads the list.
        told("setgroups", unsafe { syscall!(call::setgroups, groups.len(), groups.as_ptr()) })?;
        // SAFETY: the call touches no memory.
        told("setresgid", unsafe { syscall!(call::setresgid, gid, gid, gid) })?;
        // SAFETY: as above.
        told("setresuid", unsafe { syscall!(call::setresuid, uid, uid, uid) })?;
        expect("getresuid", three(call::getresuid) == Ok([uid; 3]))?;
        expect("getresgid", three(call::getresgid) == Ok([gid; 3]))?;
        let mut found = [0_u32; GROUPS];
        // SAFETY: the kernel writes at most as many as there is room for.
        let count = unsafe { syscall!(call::getgroups, GROUPS, found.as_mut_ptr()) };
        let count = told("getgroups", count)?;
        let found = found.get(..count).unwrap_or_default();
        expect("getgroups", count == groups.len() && groups.iter().all(|id| found.contains(id)))
    }
}

/// Asks for the real, effective and saved id.
fn three(call: Sysno) -> Result<[u32; 3], syscalls::Errno> {
    let mut ids = [u32::MAX; 3];
    let [real, effective, saved] = ids.each_mut().map(core::ptr::from_mut);
    // SAFETY: the kernel writes the three.
    unsafe { syscall!(call, real, effective, saved) }?;
    Ok(ids)
}

fn told<T>(call: &str, result: Result<T, syscalls::Errno>) -> Result<T, Reason> {
    result.map_err(syscalls::Errno::into_raw).map_err(failed("ids", call.as_bytes()))
}

/// A sandbox may answer a call that it does not make.
fn expect(call: &str, is_as_asked: bool) -> Result<(), Reason> {
    if is_as_asked { Ok(()) } else { Err(failed("ids", call.as_bytes())(Errno(1))) }
}
