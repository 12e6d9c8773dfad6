//! What a worker serves, and which build it is. Main checks this when the worker starts.

use core::fmt;

use ipc_frame::Text;

/// Bytes of each name in the frame. Longer names are cut.
pub(crate) const NAME: usize = 32;

/// What a handler serves: a build, a service, and a fingerprint of its methods.
///
/// The macro `service!` creates one. The worker's first frame contains it, and a main that expects
/// another one refuses the worker with an error that names both. Only the first 32 bytes of each
/// name are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name and version of the package that declares the service.
    pub build: &'static str,
    /// The service's name.
    pub service: &'static str,
    /// A hash of the declaration.
    pub fingerprint: u64,
}

impl Identity {
    /// The identity of a handler that does not declare one. A main that expects this one accepts
    /// any.
    pub const NONE: Self = Self { build: "", service: "", fingerprint: 0 };

    /// Returns the identity in the form in which a worker reports it.
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

/// What a worker serves, by its own report.
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
