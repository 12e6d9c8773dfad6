//! Why a verb did not succeed, and the exit code that says so.

use std::{fmt, io, process::ExitCode};

/// Why a verb did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is wrong: exit code 2.
    Arguments(String),
    /// The verb ran and failed: exit code 1.
    Failed(String),
}

impl Failure {
    /// Returns a function for `.map_err(…)` that turns an error while `doing` something into a
    /// failure.
    pub(crate) fn of<'a>(doing: &'a str) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |error| Self::Failed(format!("cannot {doing}: {error}"))
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Arguments(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(what) => write!(f, "{what}; `cargo xtask --help` shows the usage"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Arguments(error.to_string())
    }
}
