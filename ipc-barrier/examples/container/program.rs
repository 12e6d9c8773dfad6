//! The program after exec: takes the end of the barrier over and says that it is ready.

#![expect(unsafe_code, reason = "a descriptor's number does not say who owns it")]

use std::process::id;

use ipc_barrier::ChildEnd;
use rustix::process::getuid;
use rustix::thread::capabilities;

use crate::options::{Handed, Options};
use crate::side::{EXEC, FAILED, Side, Trouble, Voice};

/// Meets the parent, and returns the status to exit with.
pub(crate) fn run(options: &Options, handed: &Handed) -> u8 {
    let voice = Voice { who: "program", start: handed.start };
    // SAFETY: only this program gives itself this option, once, by exec.
    let end = match unsafe { ChildEnd::import(&handed.end) } {
        Ok(end) => end,
        Err(error) => {
            voice.say(format_args!("the barrier is not here: {error}"));
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

/// Says where it finds itself.
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
