//! What the tests across crates and processes share: a runner that gives each case a process.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod around;
pub mod cases;
pub mod counting;
pub mod deep;
pub mod example;
pub mod fds;
pub mod forked;
pub mod fuse;
pub mod memory;
mod numbers;
pub mod over;
pub mod ptrace;
pub mod random;
pub mod seccomp;
pub mod speed;
pub mod storm;
pub mod traced;
pub mod wire;

#[doc = include_str!("../../README.md")]
#[cfg(doctest)]
pub struct Readme;

#[doc = include_str!("../../ipc-frame/README.md")]
#[cfg(doctest)]
pub struct Frame;

#[doc = include_str!("../../ipc-transport/README.md")]
#[cfg(doctest)]
pub struct Transport;

#[doc = include_str!("../../ipc-barrier/README.md")]
#[cfg(doctest)]
pub struct Barrier;

#[doc = include_str!("../../ipc-worker/README.md")]
#[cfg(doctest)]
pub struct Worker;

/// The pages of the guide, all of them:
///
/// ```
/// let listed = std::fs::read_to_string("src/lib.rs")?;
/// for page in std::fs::read_dir("../docs/guide")? {
///     let name = page?.file_name().into_string().unwrap();
///     assert!(listed.contains(&format!("{name:?}")), "{name}");
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[cfg(doctest)]
mod guide {
    macro_rules! pages {
        ($($name:ident = $file:literal,)*) => {
            $(#[doc = include_str!(concat!("../../docs/guide/", $file))] pub struct $name;)*
        };
    }

    pages! {
        BackPressure = "back-pressure.md",
        Barrier = "barrier.md",
        BarrierExec = "barrier-exec.md",
        BarrierLoop = "barrier-loop.md",
        BarrierSeveral = "barrier-several.md",
        Blocks = "blocks.md",
        ComingFrom = "coming-from.md",
        Connection = "connection.md",
        Errors = "errors.md",
        EventLoops = "event-loops.md",
        Files = "files.md",
        Fork = "fork.md",
        Frames = "frames.md",
        Index = "README.md",
        Memory = "memory.md",
        NoLibc = "no-libc.md",
        Notes = "notes.md",
        Pools = "pools.md",
        Privileges = "privileges.md",
        Programs = "programs.md",
        Speed = "speed.md",
        Start = "start.md",
        Supervision = "supervision.md",
        Threads = "threads.md",
        Transport = "transport.md",
        Typed = "typed.md",
    }
}
