//! The machine that the figures were measured on.

use std::{fs, io, path::Path, time::SystemTime};

use rustix::{fs::statfs, system::uname};

/// The machine, its kernel, and the file system of the log.
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpu_count: usize,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    /// The day of the run, in UTC.
    pub(crate) date: String,
}

impl Machine {
    /// Looks at this machine and at the file system of the folder.
    pub(crate) fn of(dir: &Path) -> Self {
        let system = uname();
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let parts = [system.sysname(), system.release(), system.machine()];
        Self {
            cpu: cpu().unwrap_or_else(|_| "unknown".into()),
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: parts.map(|part| part.to_string_lossy().into_owned()).join(" "),
            file_system: file_system(dir).unwrap_or_else(|_| "unknown".into()),
            date: now.split('T').next().unwrap_or_default().into(),
        }
    }
}

/// Not every architecture names its CPU in this file.
fn cpu() -> io::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(model.map_or("unknown".into(), |(_, name)| name.trim().into()))
}

fn file_system(dir: &Path) -> io::Result<String> {
    // The number's type differs between architectures; its digits do not.
    let magic = format!("{:#x}", statfs(dir)?.f_type);
    let name = match magic.as_str() {
        "0xef53" => "ext2/3/4",
        "0x58465342" => "xfs",
        "0x9123683e" => "btrfs",
        "0x2fc12fc1" => "zfs",
        "0xf2f52010" => "f2fs",
        "0x1021994" => "tmpfs",
        "0x858458f6" => "ramfs",
        "0x794c7630" => "overlayfs",
        "0x65735546" => "fuse",
        "0x6969" => "nfs",
        "0xff534d42" | "0xfe534d42" => "cifs",
        "0x1021997" => "9p",
        "0x4d44" => "vfat",
        "0x2011bab0" => "exfat",
        _ => return Ok(magic),
    };
    Ok(name.into())
}
