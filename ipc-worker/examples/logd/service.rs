//! What an init system is told and asks for: readiness, a process number in a file, another user.

#![expect(unsafe_code, reason = "a descriptor whose number the starter chose")]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
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
    /// What was written; until then it may be that of another daemon.
    line: String,
    /// There was none before.
    is_new: bool,
}

impl PidFile {
    /// Opens it, while this process still may.
    pub(crate) fn open(path: &Path) -> Result<Self, Trouble> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o644).custom_flags(flags.bits().cast_signed());
        let opened = match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                options.open(path).map(|file| (file, false))
            }
            made => made.map(|file| (file, true)),
        };
        let (file, is_new) = opened.map_err(|error| Self::trouble(path, &error))?;
        if !file.metadata().is_ok_and(|it| it.is_file()) {
            return Err(Self::trouble(path, &"not a regular file"));
        }
        Ok(Self { path: path.to_owned(), file, line: String::new(), is_new })
    }

    pub(crate) fn write(&mut self) -> Result<(), Trouble> {
        let line = format!("{}\n", std::process::id());
        let written = self.file.set_len(0);
        let written = written.and_then(|()| self.file.write_all_at(line.as_bytes(), 0));
        written.map_err(|error| Self::trouble(&self.path, &error))?;
        self.line = line;
        Ok(())
    }

    /// Whether the path still is this file, with nothing but what was written here: another daemon
    /// may have it by now.
    fn is_own(&self) -> bool {
        let mut now = [0; 16];
        let len = self.file.read_at(&mut now, 0).unwrap_or(0);
        let is_same = match (std::fs::symlink_metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) == (ours.dev(), ours.ino()),
            _ => false,
        };
        let is_mine = now.get(..len) == Some(self.line.as_bytes());
        is_same && is_mine && (!self.line.is_empty() || self.is_new)
    }

    fn trouble(path: &Path, error: &dyn fmt::Display) -> Trouble {
        Trouble::at(format_args!("--pid-file {}", path.display()))(error)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another user may not remove it, but can empty it.
        if self.is_own() && std::fs::remove_file(&self.path).is_err() {
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

/// The numbers of a user, its group and its groups.
pub(crate) struct Ids(u32, u32, Vec<u32>);

impl Identity {
    /// Looks the names up: a user of its groups or of the one group that was named.
    pub(crate) fn find(&self) -> Result<Option<Ids>, Trouble> {
        let user = self.user.as_deref().map(find_user).transpose()?;
        let group = self.group.as_deref().map(find_group).transpose()?;
        let (uid, gid, groups) = match (&user, group) {
            (None, None) => return Ok(None),
            (None, Some(gid)) => (Uid::effective(), gid, vec![gid]),
            (Some((uid, _)), Some(gid)) => (*uid, gid, vec![gid]),
            (Some((uid, Some(entry))), None) => (*uid, entry.gid, groups_of(entry)),
            (Some((uid, None)), None) => {
                return Err(Trouble(format!("--user {uid}: unknown here, so --group is needed")));
            }
        };
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        Ok(Some(Ids(uid.as_raw(), gid.as_raw(), groups)))
    }
}

impl Ids {
    pub(crate) const fn user(&self) -> u32 {
        self.0
    }

    /// Becomes these, for good.
    pub(crate) fn take(self) -> Result<(), Trouble> {
        let Self(user, group, groups) = self;
        let setup = Setup::new().ids(user, group, &groups).apply();
        setup.map_err(|reason| Trouble::at("--user, --group")(&reason))
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
