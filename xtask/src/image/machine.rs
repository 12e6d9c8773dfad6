//! The machines that the image can be built for, and the qemu options for them.

use std::{ffi::OsString, path::Path, process::Command};

use crate::{failure::Failure, tools};

/// The machines, the default first.
pub(crate) const MACHINES: [&Machine; 2] = [&X86_64, &AARCH64];

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Rust's name for it.
    pub(crate) target: &'static str,
    /// Its number in an ELF file.
    pub(crate) elf: u16,
    /// The Debian package that depends on the newest small kernel.
    pub(crate) kernel: &'static str,
    qemu: &'static str,
    board: &'static str,
    /// The emulated processor.
    processor: &'static str,
    /// Its part of the kernel's command line.
    append: &'static str,
    pub(crate) no_target: &'static str,
    pub(crate) no_qemu: &'static str,
    pub(crate) no_kernel: &'static str,
}

/// Without ACPI, since under emulation Debian's kernels hang on a microvm that has it. `reboot=t`
/// ends the machine with a triple fault, since it has no other reset.
const X86_64: Machine = Machine {
    name: "x86_64",
    target: "x86_64-unknown-linux-musl",
    elf: elf::abi::EM_X86_64,
    kernel: "linux-image-cloud-amd64",
    qemu: "qemu-system-x86_64",
    board: "microvm,acpi=off",
    processor: "qemu64",
    append: "console=ttyS0 reboot=t",
    no_target: "image --boot (install with: rustup target add x86_64-unknown-linux-musl)",
    no_qemu: "image --boot (install with: apt-get install qemu-system-x86)",
    no_kernel: "image --boot: no kernel (give --kernel FILE, or install with: apt-get install \
                linux-image-cloud-amd64)",
};

const AARCH64: Machine = Machine {
    name: "aarch64",
    target: "aarch64-unknown-linux-musl",
    elf: elf::abi::EM_AARCH64,
    kernel: "linux-image-cloud-arm64",
    qemu: "qemu-system-aarch64",
    board: "virt",
    processor: "cortex-a53",
    append: "console=ttyAMA0",
    no_target: "image --boot (install with: rustup target add aarch64-unknown-linux-musl)",
    no_qemu: "image --boot (install with: apt-get install qemu-system-arm)",
    no_kernel: "image --boot: no kernel (give --kernel FILE, or install with: apt-get install \
                linux-image-cloud-arm64)",
};

/// The command line of every machine: shows only the kernel's critical messages, and a panic ends
/// the machine.
const APPEND: &str = "panic=-1 quiet loglevel=2";
const MEMORY: &str = "128M";

impl Machine {
    pub(crate) fn named(name: &str) -> Result<&'static Self, Failure> {
        let machine = MACHINES.into_iter().find(|machine| machine.name == name);
        machine.ok_or_else(|| Failure::Arguments(format!("no machine {name:?}")))
    }

    /// Returns whether this machine is the host's kind, so that installed programs run on it.
    pub(crate) fn is_host(&self) -> bool {
        self.name == std::env::consts::ARCH
    }

    pub(crate) fn has_qemu(&self) -> bool {
        tools::output(Command::new(self.qemu).arg("--version")).is_some()
    }

    /// Returns the command that boots the image; its standard output is the serial console's.
    pub(crate) fn qemu(&self, kernel: &Path, image: &Path, kvm: bool) -> Command {
        let (accelerator, processor) = if kvm { ("kvm", "host") } else { ("tcg", self.processor) };
        let mut command = Command::new(self.qemu);
        command.args(["-M", self.board, "-accel", accelerator, "-cpu", processor, "-m", MEMORY]);
        command.args(["-no-user-config", "-nodefaults", "-no-reboot", "-display", "none"]);
        command.args(["-serial", "stdio", "-append", &format!("{} {APPEND}", self.append)]);
        for (option, file) in [("-kernel", kernel), ("-initrd", image)] {
            command.arg(option).arg(OsString::from(file));
        }
        command
    }
}
