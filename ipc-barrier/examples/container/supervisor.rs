//! The parent: starts the child, writes its id maps, and waits until it ends.

use std::fs::{OpenOptions, read_link};
use std::io::{self, Write};
use std::time::Duration;

use ipc_barrier::process::block_signals;
use ipc_barrier::{Barrier, Child, Ended, Errno, Fork, Instant, ParentSide, Unmet, exit, fork};
use rustix::process::{getgid, getuid};

use crate::child;
use crate::options::Options;
use crate::side::{
    EXEC, FAILED, FORK, Failure, NAMESPACES, PARENT, SET_UP, Side, Trouble, UID_MAP, Voice, Why,
};
use crate::signals::Signals;

/// How long a killed child may take to end.
const KILLED: Duration = Duration::from_secs(10);

/// Starts the child, and returns the exit status.
pub(crate) fn run(options: &Options) -> u8 {
    let voice = Voice { who: PARENT, start: Instant::now() };
    let signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(error) => {
            voice.say(format_args!("cannot handle signals: {error}"));
            return FAILED;
        }
    };
    match start(options, voice) {
        Ok((mut child, Ok(()))) => status(voice, signals.forward_until_end(&mut child)),
        Ok((mut child, Err(failure))) => {
            voice.say(format_args!("{failure}"));
            end(voice, options, &mut child);
            failed(&failure)
        }
        Err(failure) => {
            voice.say(format_args!("{failure}"));
            FAILED
        }
    }
}

/// Forks. The outer error means that there is no child.
fn start(options: &Options, voice: Voice) -> Result<(Child, Result<(), Failure>), Failure> {
    let no_child = |trouble| Failure { stage: FORK, why: Why::Own(trouble) };
    // If this program executes itself, the barrier's memory must survive the exec.
    let barrier =
        if options.command.is_empty() { Barrier::open_for_exec() } else { Barrier::open() };
    let barrier = barrier.map_err(|error| no_child(Trouble::at(error.call)(error.errno)))?;
    // The parent's handlers must not run in the child. Signals that arrive now are kept.
    let blocked = block_signals();
    let _blocked = blocked.map_err(|error| no_child(Trouble::at(error.call)(error.errno)))?;
    match fork() {
        Ok(Fork::Child(_guard)) => {
            let voice = Voice { who: "child", ..voice };
            exit(child::run(Side { end: barrier.into_child(), voice, options }).into())
        }
        Ok(Fork::Parent(child)) => {
            let watching = barrier.into_parent().watching(&child);
            let met = match watching {
                Ok(end) => meet(Side { end, voice, options }, &child),
                // The end is dropped, so the child sees that the parent is gone.
                Err(error) => Err(no_child(Trouble::at(error.call)(error.errno))),
            };
            Ok((child, met))
        }
        Err(error) => {
            voice.say(format_args!("{error}"));
            Err(no_child(Trouble { what: "fork", errno: Errno(0) }))
        }
    }
}

/// Meets the child after each stage.
fn meet(mut side: Side<'_, ParentSide>, child: &Child) -> Result<(), Failure> {
    side.stage(FORK, |_| Ok(()))?;
    side.stage(NAMESPACES, |_| Ok(()))?;
    side.stage(UID_MAP, |voice| map_ids(voice, child.pid()))?;
    side.stage(SET_UP, |_| Ok(()))?;
    match side.stage(EXEC, |_| Ok(())) {
        // If the program does not know the barrier, its exec closes the end.
        Err(Failure { why: Why::Unmet(Unmet::Gone), .. }) if !side.options.command.is_empty() => {
            side.voice.say(format_args!("the program runs"));
            Ok(())
        }
        met => met,
    }
}

/// Makes the child root in its user namespace, and maps no other user (user_namespaces(7)).
fn map_ids(voice: &Voice, pid: i32) -> Result<(), Trouble> {
    const USERS: &str = "uid map";
    let users = |process: &str| read_link(format!("/proc/{process}/ns/user"));
    match users("self").and_then(|ours| Ok(ours == users(&pid.to_string())?)) {
        Ok(true) => {
            voice.say(format_args!("no user namespace, so no uid map"));
            return Ok(());
        }
        Ok(false) => {}
        Err(error) => return voice.permitted(USERS, Err(error)).map(|_| ()),
    }
    let (user, group) = (getuid(), getgid());
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ];
    for (file, text) in maps {
        let file = OpenOptions::new().write(true).open(format!("/proc/{pid}/{file}"));
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        if !voice.permitted(USERS, written)? {
            return Ok(());
        }
    }
    voice.say(format_args!("user 0 inside is user {user} here"));
    Ok(())
}

/// Waits until the child ends by itself, or kills it.
fn end(voice: Voice, options: &Options, child: &mut Child) {
    // A child that is stopped or asleep notices nothing, so only a kill helps.
    let ended = child.wait_until(Instant::now() + options.limit).or_else(|| {
        _ = child.kill();
        child.wait_until(Instant::now() + KILLED)
    });
    match ended {
        Some(ended) => voice.say(format_args!("the child has ended: {ended}")),
        None => voice.say(format_args!("the child still runs at the deadline")),
    }
}

fn status(voice: Voice, ended: Ended) -> u8 {
    voice.say(format_args!("the program has ended: {ended}"));
    match ended {
        Ended::Exited(status) => status,
        Ended::Killed(signal) => signal.saturating_add(128),
        _ => FAILED,
    }
}

/// The exit status for a failure: a program that cannot be executed has a separate one.
fn failed(failure: &Failure) -> u8 {
    match failure.why {
        Why::Unmet(Unmet::Aborted(Some(reason))) if reason.text.as_str() == child::EXECUTE => {
            match io::Error::from_raw_os_error(reason.errno.0).kind() {
                io::ErrorKind::NotFound => 127,
                _ => 126,
            }
        }
        _ => FAILED,
    }
}
