//! A kernel to boot: an installed one, or Debian's, unpacked from its package.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::machine::Machine;
use crate::{failure::Failure, steps, tools};

/// Returns the newest kernel in /boot, or else the one in the folder, which it downloads if needed.
/// Prints why if it finds none.
pub(crate) fn find(folder: &Path, machine: &Machine) -> Option<PathBuf> {
    if let Some(kernel) = Some("/boot").filter(|_| machine.is_host()).and_then(newest) {
        return Some(kernel);
    }
    let kernel = folder.join(format!("vmlinuz-{}", machine.name));
    if kernel.exists() {
        return Some(kernel);
    }
    match download(machine.kernel, folder, &kernel) {
        Ok(()) => Some(kernel),
        Err(failure) => {
            println!("no kernel: {failure}");
            None
        }
    }
}

fn newest(folder: &str) -> Option<PathBuf> {
    let is_kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz-"))
            && File::open(path).is_ok()
    };
    let entries = fs::read_dir(folder).ok()?.flatten();
    let kernels = entries.map(|entry| entry.path()).filter(is_kernel);
    kernels.max_by_key(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
}

/// Downloads the package that `meta` depends on, and unpacks the kernel from it.
fn download(meta: &str, folder: &Path, kernel: &Path) -> Result<(), Failure> {
    let depends = tools::output(Command::new("apt-cache").args(["depends", meta]));
    let package = depends.as_deref().and_then(dependency);
    let package = package
        .ok_or_else(|| Failure::Failed(format!("apt-cache does not know the package {meta}")))?;
    fs::create_dir_all(folder).map_err(Failure::of("make the image's folder"))?;
    let place = tempfile::tempdir_in(folder).map_err(Failure::of("make a temporary folder"))?;
    let mut apt = Command::new("apt-get");
    steps::run_command(apt.args(["download", package]).current_dir(place.path()))?;
    let deb = fs::read_dir(place.path()).ok().and_then(|mut files| files.next()?.ok());
    let deb = deb.ok_or_else(|| Failure::Failed("apt-get has downloaded nothing".into()))?;
    let unpacked = place.path().join("vmlinuz");
    unpack(&deb.path(), &unpacked)?;
    fs::rename(unpacked, kernel).map_err(Failure::of("keep the kernel"))
}

/// Returns the needed package from the output of `apt-cache depends`.
fn dependency(depends: &str) -> Option<&str> {
    depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "))
}

fn unpack(deb: &Path, kernel: &Path) -> Result<(), Failure> {
    let output = File::create(kernel).map_err(Failure::of("write the kernel"))?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped());
    let mut unpack = unpack.spawn().map_err(Failure::of("run dpkg-deb"))?;
    let files = unpack.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut tar = Command::new("tar");
    tar.args(["-xO", "--wildcards", "./boot/vmlinuz-*"]).stdin(files).stdout(output);
    let taken = steps::run_command(&mut tar);
    let unpacked = unpack.wait().map_err(Failure::of("wait for dpkg-deb"))?;
    taken?;
    if unpacked.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!("dpkg-deb ended with {unpacked}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependency_of_the_meta_package_is_the_kernel() {
        let depends = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(dependency(depends), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(dependency("linux-image-cloud-amd64\n"), None);
    }

    #[test]
    fn newest_kernel_is_the_last_one_written() {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds) in [("vmlinuz-7.1", 1), ("vmlinuz-6.1", 2), ("initrd.img-6.2", 3)] {
            let file = File::create(folder.path().join(name)).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        assert_eq!(newest(path), Some(folder.path().join("vmlinuz-6.1")));
        assert_eq!(newest("/nowhere"), None);
    }
}
