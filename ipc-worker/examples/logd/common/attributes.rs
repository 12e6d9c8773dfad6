//! Who may read a log: a new file gets the attributes of its predecessor.

use core::ffi::CStr;

use heapless::Vec;
use rustix::fd::BorrowedFd;
use rustix::fs::{
    Gid, Mode, Uid, XattrFlags, fchmod, fchown, fgetxattr, fremovexattr, fsetxattr, fstat,
};
use rustix::io::Errno;

/// The extended attribute of an access control list (acl(5)).
const ACL: &CStr = c"system.posix_acl_access";

/// Most bytes of a list: 4, plus 8 per entry.
const LONGEST: usize = 1024;

/// A file's mode, owner, group, and access control list.
#[derive(Debug)]
pub(crate) struct Attributes {
    mode: Mode,
    owner: Uid,
    group: Gid,
    /// Empty without one.
    acl: Result<Vec<u8, LONGEST>, Errno>,
}

impl Attributes {
    pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        let stat = fstat(file)?;
        let mut acl = [0; LONGEST];
        let acl = match fgetxattr(file, ACL, &mut acl[..]) {
            Ok(len) => acl.get(..len).and_then(|acl| Vec::from_slice(acl).ok()).ok_or(Errno::RANGE),
            Err(error) if is_none(error) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        Ok(Self {
            mode: Mode::from_raw_mode(stat.st_mode & 0o777),
            owner: Uid::from_raw(stat.st_uid),
            group: Gid::from_raw(stat.st_gid),
            acl,
        })
    }

    /// Sets these attributes on a file, as far as permitted, and returns the first error.
    pub(crate) fn give(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        let owned = fchown(file, Some(self.owner), Some(self.group));
        if owned.is_err() {
            // Only root can give files away. But a group may be one of this process's.
            _ = fchown(file, None, Some(self.group));
        }
        let permitted = fchmod(file, self.mode);
        let listed = match &self.acl {
            // The file may have inherited a list from the directory.
            Ok(acl) if acl.is_empty() => match fremovexattr(file, ACL) {
                Err(error) if !is_none(error) => Err(error),
                _ => Ok(()),
            },
            Ok(acl) => fsetxattr(file, ACL, acl, XattrFlags::empty()),
            Err(error) => Err(*error),
        };
        owned.and(permitted).and(listed)
    }
}

/// The file has no list, or its file system does not support them.
fn is_none(error: Errno) -> bool {
    matches!(error, Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS)
}
