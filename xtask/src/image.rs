//! `cargo xtask image`: an initramfs with a small log daemon, which boots and tests itself.

mod archive;
mod boot;
#[cfg(test)]
mod count;
mod executable;
mod kernel;
mod machine;
mod verdict;

use std::{
    fs::{self, File},
    io::BufWriter,
    path::{Path, PathBuf},
};

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};

use crate::{
    failure::Failure,
    steps::{self, Step},
    tinylogd::{self, Symbols},
    tools,
    workspace::Workspace,
};
use machine::{MACHINES, Machine};

const HELP: &str = "\
Builds target/image/initramfs.cpio, a complete system for a Linux kernel: the log daemon tinylogd,
busybox, and an init script that tests the daemon and reboots. The test sends 1,000 messages with
logger, kills the worker twice meanwhile, stops the daemon with SIGTERM, and checks that every
message is in the files. Without a static busybox the daemon itself is init; it takes its options
from the kernel's command line, after `--`.

Usage: cargo xtask image [OPTIONS]

Options:
      --boot            boot the image in qemu and check the result of its test; takes seconds
      --kernel FILE     boot this kernel [default: the newest /boot/vmlinuz-*, or Debian's
                        linux-image-cloud, downloaded once to target/image]
      --busybox FILE    put this static busybox into the image [default: /bin/busybox]
      --machine NAME    build for x86_64 or aarch64 [default: x86_64]
      --kvm             boot with KVM; without it qemu emulates the processor
  -h, --help            print this help

Exit codes: 0 the image is built, and its test passed or was skipped; 1 something failed,
2 wrong arguments";

/// The folder of the image and of a downloaded kernel.
const FOLDER: &str = "target/image";
const IMAGE: &str = "initramfs.cpio";
const BUSYBOX: &str = "/bin/busybox";
const NO_BUSYBOX: &str = "a shell and the test in the image: no static busybox for the machine (give --busybox FILE, or \
     install with: apt-get install busybox-static)";

/// What to build and boot.
#[derive(Clone, Debug)]
struct Options {
    machine: &'static Machine,
    boot: bool,
    kernel: Option<PathBuf>,
    busybox: Option<PathBuf>,
    kvm: bool,
}

impl Default for Options {
    fn default() -> Self {
        let [machine, ..] = MACHINES;
        Self { machine, boot: false, kernel: None, busybox: None, kvm: false }
    }
}

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    let Some(options) = parse(args)? else {
        println!("{HELP}");
        return Ok(());
    };
    let workspace = Workspace::find()?;
    let steps = plan(&workspace, options)?;
    steps::run(&workspace, steps)
}

/// Returns the step that boots the image, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    boot_step(workspace, Options::default(), default_busybox(&Options::default()))
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut args: lexopt::Parser) -> Result<Option<Options>, Failure> {
    let mut options = Options::default();
    while let Some(arg) = args.next()? {
        match arg {
            Long("boot") => options.boot = true,
            Long("kernel") => options.kernel = Some(args.value()?.into()),
            Long("busybox") => options.busybox = Some(args.value()?.into()),
            Long("machine") => options.machine = Machine::named(&args.value()?.string()?)?,
            Long("kvm") => options.kvm = true,
            Long("help") | Short('h') => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    if !options.boot && (options.kernel.is_some() || options.kvm) {
        return Err(Failure::Arguments("--kernel and --kvm need --boot".into()));
    }
    Ok(Some(options))
}

fn plan(workspace: &Workspace, options: Options) -> Result<Vec<Step>, Failure> {
    let busybox = match &options.busybox {
        Some(file) => Some(executable::read(file, options.machine)?),
        None => default_busybox(&options),
    };
    if options.boot {
        return Ok(vec![boot_step(workspace, options, busybox)]);
    }
    let shell = busybox.is_none().then(|| Step::skip("shell", NO_BUSYBOX));
    let machine = options.machine;
    let image = Step::call("image", move |workspace| {
        build(workspace, machine, busybox.as_deref()).map(drop)
    });
    Ok([image].into_iter().chain(shell).collect())
}

fn default_busybox(options: &Options) -> Option<Vec<u8>> {
    executable::read(Path::new(BUSYBOX), options.machine).ok()
}

fn boot_step(workspace: &Workspace, options: Options, busybox: Option<Vec<u8>>) -> Step {
    const NAME: &str = "image --boot";
    let machine = options.machine;
    let Some(busybox) = busybox else { return Step::skip(NAME, NO_BUSYBOX) };
    if !tools::has_target(workspace, machine.target) {
        return Step::skip(NAME, machine.no_target);
    }
    if !machine.has_qemu() {
        return Step::skip(NAME, machine.no_qemu);
    }
    let find = || kernel::find(&workspace.root().join(FOLDER), machine);
    let Some(kernel) = options.kernel.or_else(find) else {
        return Step::skip(NAME, machine.no_kernel);
    };
    Step::call(NAME, move |workspace| {
        let image = build(workspace, machine, Some(&busybox))?;
        boot::boot(machine.qemu(&kernel, &image, options.kvm))
    })
}

/// Builds the image, prints its contents, and returns its path.
fn build(
    workspace: &Workspace,
    machine: &Machine,
    busybox: Option<&[u8]>,
) -> Result<PathBuf, Failure> {
    let folder = tinylogd::build(workspace, machine.target, Symbols::Stripped)?;
    let program = executable::read(&folder.join("tinylogd"), machine)?;
    let entries = archive::entries(&program, busybox);
    let folder = workspace.root().join(FOLDER);
    let path = folder.join(IMAGE);
    let write = || {
        fs::create_dir_all(&folder)?;
        archive::write(&entries, BufWriter::new(File::create(&path)?))?;
        fs::metadata(&path)
    };
    let file = write().map_err(Failure::of(&format!("write {}", path.display())))?;
    for entry in &entries {
        println!("{:>9}  /{}", entry.content.len(), entry.name);
    }
    println!("{:>9}  {FOLDER}/{IMAGE}", file.len());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Option<Options>, Failure> {
        parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn options_of_a_boot_are_read() {
        let args = ["--boot", "--kernel", "vmlinuz", "--machine", "aarch64", "--kvm"];
        let options = parsed(&args).unwrap().unwrap();
        assert!(options.boot && options.kvm && options.busybox.is_none());
        assert_eq!(options.machine.name, "aarch64");
        assert_eq!(options.kernel, Some("vmlinuz".into()));
    }

    #[test]
    fn unknown_machines_and_a_kernel_that_nothing_boots_are_wrong_arguments() {
        for args in [&["--machine", "vax"][..], &["--kernel", "vmlinuz"], &["--kvm"], &["boot"]] {
            assert!(matches!(parsed(args), Err(Failure::Arguments(_))), "{args:?}");
        }
    }
}
