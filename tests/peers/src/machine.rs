//! The machine, and the versions of the crates.

use std::fs;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::cpus::Cpus;
use crate::peers::ALL;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: String,
    /// The date of the run, in UTC.
    pub(crate) date: String,
    /// Crates and their versions.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        let machine = system.machine().to_string_lossy();
        let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Self {
            processor: processor(&cpuinfo).unwrap_or("unknown processor").into(),
            cpus: Cpus::allowed().count(),
            kernel: format!("Linux {release} {machine}"),
            date: now.split('T').next().unwrap_or_default().into(),
            versions: versions(include_str!("../Cargo.lock")),
        }
    }
}

fn processor(cpuinfo: &str) -> Option<&str> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(": ").map(|(_, model)| model)
}

/// Returns the versions of the contenders' crates.
fn versions(lock: &str) -> Vec<(String, String)> {
    let mut packages: Vec<&str> = ALL.iter().filter_map(|entrant| entrant.package).collect();
    packages.dedup();
    let between = |start: &str, end: &str| {
        let after = lock.split_once(start)?.1;
        after.split_once(end).map(|(found, _)| found.to_owned())
    };
    // If a name has several versions, this package's entry gives the one it depends on.
    let own = between("\nname = \"ipc-peers\"", "]").unwrap_or_default();
    let version = |package: &str| {
        let mut named = own.lines().map(|line| line.trim_matches([' ', '"', ',']));
        let named = named.find_map(|line| line.strip_prefix(package)?.strip_prefix(' '));
        let only = || between(&format!("\nname = \"{package}\"\nversion = \""), "\"");
        Some((package.to_owned(), named.map(str::to_owned).or_else(only)?))
    };
    packages.iter().filter_map(|package| version(package)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_has_a_version() {
        let versions = versions(include_str!("../Cargo.lock"));
        for entrant in ALL {
            let is_there = |package| versions.iter().any(|(name, _)| name == package);
            assert!(entrant.package.is_none_or(is_there), "{}", entrant.name);
        }
    }

    #[test]
    fn the_version_of_two_is_the_own_one() {
        let lock = "[[package]]\nname = \"uds\"\nversion = \"1.0.0\"\n\n[[package]]\n\
                    name = \"uds\"\nversion = \"2.0.0\"\n\n[[package]]\nname = \"ipc-peers\"\n\
                    dependencies = [\n \"uds 2.0.0\",\n]\n";
        assert_eq!(versions(lock), [("uds".to_owned(), "2.0.0".to_owned())]);
    }

    #[test]
    fn processor_is_the_first_model() {
        assert_eq!(processor("a\t: b\nmodel name\t: C 3: D\nmodel name\t: E\n"), Some("C 3: D"));
        assert_eq!(processor("a\t: b\n"), None);
    }
}
