//! What the worker gives up before it gets the first file. Nothing here needs root.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use ipc_barrier::process::{Resource, Setup, Signal};
use ipc_worker::Reason;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use rustix::fs::{Mode, OFlags};

use crate::filter::filter;

/// Arguments that make the worker omit a part, to show what it is good for.
pub(crate) const NO_FILTER: &CStr = c"--no-filter";
pub(crate) const NO_LANDLOCK: &CStr = c"--no-landlock";

/// Confines this process, permanently. Returns the missing parts, one per line. A program that
/// starts as root should also change its ids ([`Setup::ids`]).
pub(crate) fn enter() -> Result<String, Reason> {
    let without = |part: &CStr| std::env::args().any(|it| it.as_bytes() == part.to_bytes());
    mute()?;
    let mut lacks = String::new();
    let ruleset = if without(NO_LANDLOCK) { None } else { ruleset(&mut lacks)? };
    let filter = if without(NO_FILTER) { None } else { Some(filter()?) };
    let mut setup = Setup::new()
        .parent_death(Signal::KILL)
        .limit(Resource::As, 64 << 20)
        // In seconds. A worker that has used them up is replaced.
        .limit(Resource::Cpu, 60)
        .limit(Resource::Nofile, 64)
        .limit(Resource::Fsize, 0)
        .limit(Resource::Core, 0)
        .limit(Resource::Nproc, 0)
        .no_new_privs();
    if let Some(ruleset) = &ruleset {
        setup = setup.landlock(ruleset.as_fd());
    }
    if let Some(filter) = &filter {
        setup = setup.filter(filter);
    }
    setup.apply()?;
    Ok(lacks)
}

/// Detaches the standard streams, which are main's: a worker must not use main's terminal.
fn mute() -> Result<(), Reason> {
    let failed = |error| Reason::from_error("standard streams", &error, "/dev/null");
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(failed)?;
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    rustix::stdio::dup2_stderr(&null).map_err(failed)
}

/// Creates a ruleset that permits nothing, as far as the kernel supports it (landlock(7)). Adds
/// what the kernel lacks to `lacks`.
fn ruleset(lacks: &mut String) -> Result<Option<OwnedFd>, Reason> {
    let failed = |error| Reason::from_error("landlock", &error, "");
    let all = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    // The ruleset above omits what the kernel lacks. Each of these then fails.
    let hard = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    for (what, rules) in [
        ("files (kernel 5.13)", hard().handle_access(AccessFs::from_all(ABI::V1))),
        ("the network (kernel 6.7)", hard().handle_access(AccessNet::from_all(ABI::V4))),
        ("signals and sockets (kernel 6.12)", hard().scope(Scope::from_all(ABI::V6))),
    ] {
        if rules.and_then(Ruleset::create).is_err() {
            lacks.push_str(&format!("no landlock for {what}: the kernel has none\n"));
        }
    }
    Ok(all.into())
}
