//! What a worker serves, and by which build: compared when it starts.

use core::fmt;

use ipc_frame::Text;

/// Bytes of each name on the wire; longer ones are cut.
pub(crate) const NAME: usize = 32;

/// What a handler serves: a build, a service, and a number that stands for its methods.
///
/// [`service!`](crate::service) makes one. The worker's first frame carries it, and a main that
/// expects another one refuses the worker with both. Of each name the first 32 bytes count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The package that declares the service, and its version.
    pub build: &'static str,
    /// The service's name.
    pub service: &'static str,
    /// A hash of the declaration.
    pub fingerprint: u64,
}

impl Identity {
    /// That of a handler that says none. A main that expects this one takes any.
    pub const NONE: Self = Self { build: "", service: "", fingerprint: 0 };

    /// The same as a worker says it.
    pub(crate) fn served(&self) -> Served {
        let Self { build, service, fingerprint } = *self;
        Served { build: Text::new(build), service: Text::new(service), fingerprint }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { build, service, fingerprint } = self;
        write!(f, "service \"{service}\" {fingerprint:016x} of \"{build}\"")
    }
}

/// What a worker says that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    pub(crate) build: Text<NAME>,
    pub(crate) service: Text<NAME>,
    pub(crate) fingerprint: u64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (build, service) = (self.build.as_str(), self.service.as_str());
        write!(f, "service \"{service}\" {:016x} of \"{build}\"", self.fingerprint)
    }
}
