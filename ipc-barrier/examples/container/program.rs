//! The program after exec: takes over the end of the barrier, and reports that it is ready.

#![expect(unsafe_code, reason = "a descriptor's number does not say who owns it")]

use std::process::id;

use ipc_barrier::ChildEnd;
use rustix::process::getuid;
use rustix::thread::capabilities;

use crate::options::{Handed, Options};
use crate::side::{EXEC, FAILED, Side, Trouble, Voice};

/// Meets the parent, and returns the exit status.
pub(crate) fn run(options: &Options, handed: &Handed) -> u8 {
    let voice = Voice { who: "program", start: handed.start };
    // SAFETY: only this program passes itself this option, once, at exec.
    let end = match unsafe { ChildEnd::import(&handed.end) } {
        Ok(end) => end,
        Err(error) => {
            voice.say(format_args!("cannot take over the barrier: {error}"));
            return FAILED;
        }
    };
    match (Side { end, voice, options }).stage(EXEC, look_around) {
        Ok(()) => 0,
        Err(failure) => {
            voice.say(format_args!("{failure}"));
            FAILED
        }
    }
}

/// Reports its surroundings.
fn look_around(voice: &Voice) -> Result<(), Trouble> {
    let name = rustix::system::uname();
    let dir = std::env::current_dir().map_err(Trouble::at("working directory"))?;
    let powers = capabilities(None).map_err(Trouble::at("capabilities"))?.effective;
    voice.say(format_args!(
        "ready: process {}, user {}, host {}, in {}, {} capabilities",
        id(),
        getuid(),
        name.nodename().to_string_lossy(),
        dir.display(),
        powers.iter().count(),
    ));
    Ok(())
}
