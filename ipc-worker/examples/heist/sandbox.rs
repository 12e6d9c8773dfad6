//! What the worker gives up before it is given the first file. Nothing of it needs root.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use ipc_barrier::process::{Resource, Setup, Signal};
use ipc_worker::Reason;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope,
};
use rustix::fs::{Mode, OFlags};

use crate::filter::filter;

/// The worker's arguments to do without a part, to see what it is good for.
pub(crate) const NO_FILTER: &CStr = c"--no-filter";
pub(crate) const NO_LANDLOCK: &CStr = c"--no-landlock";

/// Shuts this process in, for good, and says what is missing, a line for each. A program that starts
/// as root takes other ids as well ([`Setup::ids`]).
pub(crate) fn enter() -> Result<String, Reason> {
    let without = |part: &CStr| std::env::args().any(|it| it.as_bytes() == part.to_bytes());
    mute()?;
    let mut lacks = String::new();
    let ruleset = if without(NO_LANDLOCK) { None } else { ruleset(&mut lacks)? };
    let filter = if without(NO_FILTER) { None } else { Some(filter()?) };
    let mut setup = Setup::new()
        .parent_death(Signal::KILL)
        .limit(Resource::As, 64 << 20)
        // Seconds. A worker that has used them up is followed by another.
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

/// Cuts the standard streams off: what is written to main's terminal or read from it is main's.
fn mute() -> Result<(), Reason> {
    let failed = |error| Reason::from_error("standard streams", &error, "/dev/null");
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map_err(failed)?;
    rustix::stdio::dup2_stdin(&null).map_err(failed)?;
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    rustix::stdio::dup2_stderr(&null).map_err(failed)
}

/// Makes a ruleset that permits nothing, as far as the kernel knows how to (landlock(7)), and says
/// what it does not know.
fn ruleset(lacks: &mut String) -> Result<Option<OwnedFd>, Reason> {
    let failed = |error| Reason::from_error("landlock", &error, "");
    let all = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    // The above leaves out what the kernel lacks; each of these fails then.
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
