//! A file system whose server never answers (fuse(4)): signals cannot interrupt a system call on
//! it.

#![expect(unsafe_code, reason = "mount takes pointers")]

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use ipc_barrier::{Child, Fork, exit, fork};

/// The request that negotiates the connection (`FUSE_INIT` of linux/fuse.h).
const INIT: u32 = 26;

/// A mounted file system. Dropping it aborts the connection, which ends every pending call on it.
#[derive(Debug)]
pub struct Silent {
    dir: tempfile::TempDir,
    server: Child,
}

impl Silent {
    /// Mounts it, with a server that answers only the first request.
    pub fn mount() -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut device = File::options().read(true).write(true).open("/dev/fuse")?;
        let fd = device.as_raw_fd();
        let options = CString::new(format!("fd={fd},rootmode=40000,user_id=0,group_id=0"))?;
        let target = CString::new(dir.path().to_str().unwrap_or_default())?;
        let (name, kind, flags) = (c"silent", c"fuse", libc::MS_NOSUID | libc::MS_NODEV);
        // SAFETY: all strings are NUL-terminated.
        let mounted = unsafe {
            libc::mount(
                name.as_ptr(),
                target.as_ptr(),
                kind.as_ptr(),
                flags,
                options.as_ptr().cast(),
            )
        };
        if mounted != 0 {
            return Err(io::Error::last_os_error());
        }
        match fork().map_err(io::Error::other)? {
            Fork::Child(_guard) => {
                serve(&mut device);
                exit(0)
            }
            Fork::Parent(server) => Ok(Self { dir, server }),
        }
    }

    /// A file in it. Calls on this file never return.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("file")
    }
}

/// Reads every request until the file system is unmounted.
fn serve(device: &mut File) {
    let mut question = vec![0; 1 << 17];
    while let Ok(len) = device.read(&mut question) {
        let word = |at: usize| question.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        let opcode = word(4).map(u32::from_le_bytes);
        if len >= 16 && opcode == Some(INIT) {
            // Length, no error, the request's id; version 7.31, and limits.
            let mut answer = [80_u32.to_le_bytes(), [0; 4]].concat();
            answer.extend(question.get(8..16).unwrap_or_default());
            answer.extend([7_u32, 31, 4096, 0, 0, 4096].map(u32::to_le_bytes).concat());
            answer.resize(80, 0);
            _ = device.write_all(&answer);
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // The server holds the device's last descriptor: its exit aborts the connection.
        _ = self.server.kill();
        _ = self.server.wait();
        if let Ok(target) = CString::new(self.dir.path().to_str().unwrap_or_default()) {
            // SAFETY: the string is NUL-terminated.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
