//! The machines on which tests can run, and how to build for them.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{
    emulator::{self, Emulator},
    tally::Tally,
};
use crate::{steps::Step, tools, workspace::Workspace};

/// The limit for each of the two commands below, which even a busy machine keeps. Each case also
/// has its own limit.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// The unit tests, which run in threads, and the other tests.
const BESIDE: &[&str] = &["--lib"];
const OTHERS: &[&str] = &["--test", "*"];

/// A machine.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    title: &'static str,
    /// Its target with musl, linked by rust-lld.
    musl: &'static str,
    /// Otherwise its target with glibc, and the C compiler that links it.
    gnu: Option<[&'static str; 2]>,
    /// Qemu's name for it, unless this machine's processor runs its programs.
    qemu: Option<&'static str>,
}

pub(crate) const MACHINES: &[Machine] = &[
    Machine {
        name: "i686",
        title: "cross i686",
        musl: "i686-unknown-linux-musl",
        gnu: None,
        qemu: None,
    },
    Machine {
        name: "aarch64",
        title: "cross aarch64",
        musl: "aarch64-unknown-linux-musl",
        gnu: Some(["aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc"]),
        qemu: Some("aarch64"),
    },
    Machine {
        name: "armv7",
        title: "cross armv7",
        musl: "armv7-unknown-linux-musleabihf",
        gnu: Some(["armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf-gcc"]),
        qemu: Some("arm"),
    },
    Machine {
        name: "riscv64",
        title: "cross riscv64",
        musl: "riscv64gc-unknown-linux-musl",
        gnu: Some(["riscv64gc-unknown-linux-gnu", "riscv64-linux-gnu-gcc"]),
        qemu: Some("riscv64"),
    },
    Machine {
        name: "s390x",
        title: "cross s390x",
        musl: "s390x-unknown-linux-musl",
        gnu: Some(["s390x-unknown-linux-gnu", "s390x-linux-gnu-gcc"]),
        qemu: Some("s390x"),
    },
];

/// The tools that build for the machine.
struct Build {
    target: &'static str,
    linker: &'static str,
}

impl Machine {
    /// Returns the step that runs the tests, or says why it cannot run here.
    pub(crate) fn step(&'static self, workspace: &Workspace) -> Step {
        let Some(build) = self.build(workspace) else {
            return Step::skip(self.title, self.how_to_build());
        };
        let emulator = match self.qemu.map(Emulator::find) {
            None if cfg!(target_arch = "x86_64") => None,
            None => {
                let why = "the tests for i686 (install with: an x86_64 machine)";
                return Step::skip(self.title, why);
            }
            Some(None) => {
                let why = format!(
                    "the tests for {} (install with: apt-get install qemu-user-static; it needs \
                     Linux 6.7, user namespaces and filters)",
                    self.name
                );
                return Step::skip(self.title, why);
            }
            Some(emulator) => emulator,
        };
        Step::call_that_remarks(self.title, move |workspace, remark| {
            let mut tally = Tally::default();
            let beside = build.test(workspace, emulator.as_ref(), BESIDE);
            let beside = tally.run(beside, emulator::spawn, Instant::now() + LIMIT);
            let mut others = build.test(workspace, emulator.as_ref(), OTHERS);
            others.env("IPC_TESTS_AROUND", if emulator.is_some() { "qemu" } else { self.name });
            let spawn =
                if emulator.is_some() { emulator::spawn_as_one_thread } else { emulator::spawn };
            let others = tally.run(others, spawn, Instant::now() + LIMIT);
            for skipped in &tally.skipped {
                println!("{skipped}");
            }
            *remark = tally.to_string();
            beside.and(others)
        })
    }

    fn build(&self, workspace: &Workspace) -> Option<Build> {
        if tools::has_target(workspace, self.musl) {
            return Some(Build { target: self.musl, linker: "rust-lld" });
        }
        let [target, linker] = self.gnu?;
        let has_linker = || tools::output(Command::new(linker).arg("--version")).is_some();
        (tools::has_target(workspace, target) && has_linker()).then_some(Build { target, linker })
    }

    fn how_to_build(&self) -> String {
        let (name, musl) = (self.name, self.musl);
        let or = self.gnu.map_or(String::new(), |[target, linker]| {
            let package = linker.trim_end_matches("-gcc");
            format!("; or: rustup target add {target}, apt-get install gcc-{package}")
        });
        format!("the tests for {name} (install with: rustup target add {musl}{or})")
    }
}

impl Build {
    /// Returns a command that runs some tests.
    fn test(&self, workspace: &Workspace, emulator: Option<&Emulator>, which: &[&str]) -> Command {
        let mut cargo = workspace.cargo(&["test", "--locked", "--no-fail-fast", "--workspace"]);
        cargo.args(["--exclude", "xtask"]).args(which);
        let mut command = match emulator {
            Some(emulator) => emulator.run(workspace, &cargo),
            None => cargo,
        };
        let variable =
            |end| format!("CARGO_TARGET_{}_{end}", self.target.to_uppercase().replace('-', "_"));
        command.env(variable("LINKER"), self.linker);
        if self.linker != "rust-lld" {
            command.env(variable("RUSTFLAGS"), "-C target-feature=+crt-static");
        }
        // Not an option of cargo, since tests build examples, which must be for the same machine.
        command.env("CARGO_BUILD_TARGET", self.target);
        if emulator.is_some() {
            // Unoptimised code takes ten times as long.
            command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        }
        if self.target.starts_with("s390x") {
            // There the crate `syscalls` requests features that only nightly had when it was
            // released.
            command.env("RUSTC_BOOTSTRAP", "syscalls");
        }
        command
    }
}
