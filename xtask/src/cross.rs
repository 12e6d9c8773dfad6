//! `cargo xtask cross`: the tests on some other machines, and `cargo check` for more.

mod checks;
mod emulator;
mod machine;
mod tally;

use lexopt::{
    Arg::{Long, Short},
    ValueExt as _,
};

use crate::{
    failure::Failure,
    miri,
    steps::{self, Step},
    workspace::Workspace,
};
use machine::MACHINES;

const HELP: &str = "\
Runs the tests of the four crates, and the tests with several processes, on other machines:

  i686     32 bits, natively
  aarch64  64 bits, under qemu-user, as all below
  armv7    32 bits
  riscv64  64 bits, without the older system calls
  s390x    64 bits, big-endian; also ipc-frame in miri, first
  check    only `cargo check`, of the crates that compile there: 32 bits without 64-bit atomics
           (armv5te, powerpc, mips), loongarch64 and more

Uses the musl target, linked by rust-lld. If it is not installed, uses the gnu target with
Debian's cross compiler. qemu runs in a user namespace. There binfmt_misc starts the machine's
programs (Linux 6.7), and a filter hides qemu's own thread from fork. Machines that are not
available are skipped; the end of the output lists them and how to install them.

A case that the emulator cannot run is left out: its output says why. The table at the end says how
many cases passed, were left out, were skipped, and failed.

Usage: cargo xtask cross [OPTIONS]

Options:
      --target NAME   only this machine, or check; can be repeated
  -h, --help          print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

/// The name that selects the steps that only check.
const CHECK: &str = "check";

/// Runs the verb.
pub(crate) fn run(mut args: lexopt::Parser) -> Result<(), Failure> {
    let mut names = Vec::new();
    while let Some(arg) = args.next()? {
        match arg {
            Long("help") | Short('h') => {
                println!("{HELP}");
                return Ok(());
            }
            Long("target") => names.push(args.value()?.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
        return Err(Failure::Arguments(format!("no target {name:?}")));
    }
    let workspace = Workspace::find()?;
    let steps = steps(&workspace, |name| names.is_empty() || names.iter().any(|it| it == name));
    steps::run(&workspace, steps)
}

/// Returns the steps for each chosen machine.
pub(crate) fn steps(workspace: &Workspace, is_chosen: impl Fn(&str) -> bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for machine in MACHINES.iter().filter(|machine| is_chosen(machine.name)) {
        if machine.name == "s390x" {
            steps.push(miri::big_endian(workspace));
        }
        steps.push(machine.step(workspace));
    }
    if is_chosen(CHECK) {
        steps.extend(checks::steps(workspace));
    }
    steps
}

fn is_known(name: &str) -> bool {
    name == CHECK || MACHINES.iter().any(|machine| machine.name == name)
}
