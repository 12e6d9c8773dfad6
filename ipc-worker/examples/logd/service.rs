//! What an init system is told and asks for: readiness, a process number in a file, another user.

#![expect(unsafe_code, reason = "a descriptor whose number the starter chose")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ipc_barrier::process::Setup;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use rustix::fs::OFlags;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with,
};

use crate::Trouble;

/// Tells who started this process that it is ready, and later that it stops.
pub(crate) struct Readiness(Option<File>);

impl Readiness {
    /// Takes over the descriptor that readiness is to be told at, as s6 gives one.
    pub(crate) fn new(number: Option<RawFd>) -> Result<Self, Trouble> {
        let Some(number) = number else { return Ok(Self(None)) };
        // SAFETY: a number that is closed is an error, which is what the call is to tell.
        let lent = unsafe { rustix::fd::BorrowedFd::borrow_raw(number) };
        let flags = rustix::io::fcntl_getfd(lent);
        flags
            .and_then(|flags| rustix::io::fcntl_setfd(lent, flags | rustix::io::FdFlags::CLOEXEC))
            .map_err(|error| Trouble::at(format_args!("--ready-fd {number}"))(&error))?;
        // SAFETY: the option says that it is this program's, and nothing else here has opened it.
        Ok(Self(Some(unsafe { OwnedFd::from_raw_fd(number) }.into())))
    }

    /// Says it, to s6 by a line and to systemd by its socket. If the starter does not listen, the
    /// daemon runs all the same.
    pub(crate) fn ready(&mut self) {
        if let Some(mut file) = self.0.take() {
            _ = file.write_all(b"\n");
        }
        _ = notify(b"READY=1");
    }

    pub(crate) fn stopping() {
        _ = notify(b"STOPPING=1");
    }
}

/// Sends a word to the socket that systemd names, without waiting (sd_notify(3)).
fn notify(word: &[u8]) -> rustix::io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes() {
        [b'@', hidden @ ..] => SocketAddrUnix::new_abstract_name(hidden),
        path => SocketAddrUnix::new(path),
    }?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendto(&socket, word, flags, &address).map(drop)
}

/// A file with the process number, which goes when this does.
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
    /// Until then it may be that of another daemon.
    is_own: bool,
}

impl PidFile {
    /// Opens it, while this process still may.
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o644);
        let file = options.custom_flags(flags.bits().cast_signed()).open(path);
        let file = file.map_err(|error| Self::trouble(path, &error))?;
        Ok(Self { path: path.to_owned(), file, is_own: false })
    }

    pub(crate) fn write(&mut self) -> Result<(), Trouble> {
        self.is_own = true;
        let line = format!("{}\n", std::process::id());
        let written = self.file.set_len(0).and_then(|()| self.file.write_all(line.as_bytes()));
        written.map_err(|error| Self::trouble(&self.path, &error))
    }

    fn trouble(path: &Path, error: &io::Error) -> Trouble {
        Trouble::at(format_args!("--pid-file {}", path.display()))(error)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another user may not remove it, but can empty it.
        if self.is_own && std::fs::remove_file(&self.path).is_err() {
            _ = self.file.set_len(0);
        }
    }
}

/// Who to be once everything is open that needs more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
}

impl Identity {
    /// Becomes another user, of its groups or of the one group that was named, for good.
    pub(crate) fn take(&self) -> Result<(), Trouble> {
        let user = self.user.as_deref().map(find_user).transpose()?;
        let group = self.group.as_deref().map(find_group).transpose()?;
        let (uid, gid, groups) = match (&user, group) {
            (None, None) => return Ok(()),
            (None, Some(gid)) => (Uid::effective(), gid, vec![gid]),
            (Some((uid, _)), Some(gid)) => (*uid, gid, vec![gid]),
            (Some((uid, Some(entry))), None) => (*uid, entry.gid, groups_of(entry)),
            (Some((uid, None)), None) => {
                return Err(Trouble(format!("--user {uid}: unknown here, so --group is needed")));
            }
        };
        let groups: Vec<u32> = groups.into_iter().map(Gid::as_raw).collect();
        Setup::new()
            .ids(uid.as_raw(), gid.as_raw(), &groups)
            .apply()
            .map_err(|reason| Trouble::at("--user, --group")(&reason))
    }
}

fn groups_of(user: &User) -> Vec<Gid> {
    let name = std::ffi::CString::new(user.name.as_str()).unwrap_or_default();
    getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid])
}

/// Finds a user by name or number.
fn find_user(text: &str) -> Result<(Uid, Option<User>), Trouble> {
    let number = text.parse().ok().map(Uid::from_raw);
    let found = number.map_or_else(|| User::from_name(text), User::from_uid);
    let found = found.map_err(|error| Trouble::at(format_args!("--user {text}"))(&error))?;
    let uid = found.as_ref().map(|user| user.uid).or(number);
    let uid = uid.ok_or_else(|| Trouble(format!("--user {text}: not known here")))?;
    Ok((uid, found))
}

/// Finds a group by name or number.
fn find_group(text: &str) -> Result<Gid, Trouble> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    let found = Group::from_name(text)
        .map_err(|error| Trouble::at(format_args!("--group {text}"))(&error))?;
    let group = found.ok_or_else(|| Trouble(format!("--group {text}: not known here")))?;
    Ok(group.gid)
}
