//! `tests/tinylogd` as a distribution builds it: from a copy of the sources with vendored
//! dependencies, locked and offline. Installs the program and runs it.

use std::{
    fs::{self, File},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    failure::Failure,
    packaging::{SUBDIR, Text},
    process,
    steps::{self, Step},
    tools::{self, output},
    workspace::Workspace,
};

const NAME: &str = "tinylogd, vendored";
const TIME: Duration = Duration::from_secs(60);
const MESSAGE: &str = "from a package";
const MUSL: &str = "x86_64-unknown-linux-musl";
const LINKER: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER";

/// Settings of distributions that break or enlarge the build, and the packaging file that corrects
/// them.
const DISTRIBUTIONS: [(&str, &[(&str, &str)]); 2] = [
    (
        "buildroot/tinylogd/tinylogd.mk",
        &[("CARGO_PROFILE_RELEASE_LTO", "false"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")],
    ),
    (
        "openwrt/tinylogd/Makefile",
        &[
            ("CARGO_PROFILE_RELEASE_PANIC", "unwind"),
            ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
            ("RUSTFLAGS", "-Ctarget-feature=-crt-static"),
        ],
    ),
];

/// Returns the step, or says why it cannot run here.
pub(crate) fn step(workspace: &Workspace) -> Step {
    step_of(workspace, NAME, test)
}

/// Returns the step that builds with the settings of distributions.
pub(crate) fn long_step(workspace: &Workspace) -> Step {
    const NAME: &str = "tinylogd, distributions";
    if !tools::has_target(workspace, MUSL) {
        let why = "tinylogd with the settings of distributions \
                   (install with: rustup target add x86_64-unknown-linux-musl)";
        return Step::skip(NAME, why);
    }
    step_of(workspace, NAME, test_distributions)
}

fn step_of(
    workspace: &Workspace,
    name: &'static str,
    function: fn(&Workspace) -> Result<(), Failure>,
) -> Step {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Step::skip(name, "tinylogd from vendored sources (x86_64 Linux only)");
    }
    if output(&mut workspace.command("git", &["ls-files"])).is_none() {
        let why = "tinylogd from vendored sources (install with: apt install git; needs a clone)";
        return Step::skip(name, why);
    }
    Step::call(name, function)
}

fn test(workspace: &Workspace) -> Result<(), Failure> {
    let place = Place::new(workspace)?;
    place.vendor()?;
    place.install()?;
    place.read_texts()?;
    place.run()
}

/// Builds for musl with a C compiler as linker, as with a distribution's toolchain.
fn test_distributions(workspace: &Workspace) -> Result<(), Failure> {
    let mut place = Place::new(workspace)?;
    place.vendor()?;
    let texts = Text::all(workspace)?;
    for (name, set) in DISTRIBUTIONS {
        println!("with the settings of {name}");
        let text = texts.iter().find(|text| text.name == name);
        let text = text.ok_or_else(|| Failure::Failed(format!("there is no {name}")))?;
        let target = [("CARGO_BUILD_TARGET", MUSL), (LINKER, "cc")];
        let all = target.into_iter().chain(set.iter().copied()).chain(text.settings());
        place.settings = all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        place.install()?;
        place.run()?;
    }
    Ok(())
}

/// A temporary folder outside the project; it is removed at the end.
struct Place<'a> {
    workspace: &'a Workspace,
    folder: TempDir,
    /// A distribution's environment variables for cargo. The last value of a name counts.
    settings: Vec<(String, String)>,
}

impl<'a> Place<'a> {
    /// Copies the files that git tracks, in their present state.
    fn new(workspace: &'a Workspace) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("ipc-vendored-").tempdir();
        let folder = folder.map_err(Failure::of("make a temporary folder"))?;
        let place = Self { workspace, folder, settings: Vec::new() };
        let list = File::create(place.path("list")).map_err(Failure::of("write a list"))?;
        steps::run_command(workspace.command("git", &["ls-files", "-z"]).stdout(list))?;
        for name in ["source", "cargo-home"] {
            fs::create_dir(place.path(name)).map_err(Failure::of("make a folder"))?;
        }
        let mut pack = workspace.command("tar", &["--null", "--create", "--file"]);
        pack.arg(place.path("tar")).arg("--files-from").arg(place.path("list"));
        steps::run_command(&mut pack)?;
        let mut unpack = workspace.command("tar", &["--extract", "--file"]);
        unpack.arg(place.path("tar")).arg("--directory").arg(place.path("source"));
        steps::run_command(&mut unpack)?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Vendors the dependencies, and configures cargo to use them.
    fn vendor(&self) -> Result<(), Failure> {
        let manifest = format!("{SUBDIR}/Cargo.toml");
        let source = self.path("source");
        let config = source.join(".cargo/config.toml");
        let config = File::create(config).map_err(Failure::of("write cargo's configuration"))?;
        let mut vendor = self.workspace.cargo(&["vendor", "--locked", "--manifest-path"]);
        vendor.args([&manifest, "vendored"]).current_dir(source).stdout(config);
        steps::run_command(&mut vendor).map_err(|failure| {
            Failure::Failed(format!(
                "{failure}; without the network cargo's home must hold every crate already: \
                 `cargo fetch --locked --manifest-path {manifest}`, once, with the network"
            ))
        })
    }

    /// Returns a command for cargo without the network and without earlier downloads.
    fn cargo(&self, args: &[&str]) -> Command {
        let mut command = self.workspace.cargo(args);
        command.args(["--locked", "--offline"]).current_dir(self.path("source").join(SUBDIR));
        command.env("CARGO_HOME", self.path("cargo-home")).env("CARGO_NET_OFFLINE", "true");
        command.env_remove("CARGO_TARGET_DIR");
        command.envs(self.settings.iter().map(|(key, value)| (key, value)));
        command
    }

    fn install(&self) -> Result<(), Failure> {
        steps::run_command(&mut self.cargo(&["build", "--release"]))?;
        let mut install = self.cargo(&["install", "--bins", "--force", "--path", "./"]);
        install.arg("--root").arg(self.path("root"));
        steps::run_command(&mut install)
    }

    fn program(&self) -> Command {
        let mut command = Command::new(self.path("root/bin/tinylogd"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program with the arguments of each file: it prints its version if it accepts them.
    fn read_texts(&self) -> Result<(), Failure> {
        let version = |arguments: &[String]| {
            output(self.program().args(arguments).arg("--version")).unwrap_or_default()
        };
        let expected = version(&[]);
        if !expected.starts_with("tinylogd ") {
            return Err(Failure::Failed(format!("the installed program says {expected:?}")));
        }
        for text in Text::all(self.workspace)?.iter().filter(|text| text.is_service()) {
            let arguments = text.arguments();
            let arguments = arguments
                .ok_or_else(|| Failure::Failed(format!("{} has no --socket", text.name)))?;
            println!("{}: tinylogd {}", text.name, arguments.join(" "));
            if version(&arguments) != expected {
                return Err(Failure::Failed(format!(
                    "tinylogd refuses the arguments of {}",
                    text.name
                )));
            }
        }
        Ok(())
    }

    /// Starts the daemon, sends one message when it says that it is ready, and stops it.
    fn run(&self) -> Result<(), Failure> {
        let folder = TempDir::new_in(self.folder.path());
        let folder = folder.map_err(Failure::of("make a temporary folder"))?;
        let [notify, socket] = ["notify", "socket"].map(|name| folder.path().join(name));
        let readiness = UnixDatagram::bind(&notify).map_err(Failure::of("bind a socket"))?;
        let wait = readiness.set_read_timeout(Some(TIME));
        wait.map_err(Failure::of("set a timeout"))?;
        let mut program = self.program();
        program.arg("--socket").arg(&socket).arg("--dir").arg(folder.path());
        program.env("NOTIFY_SOCKET", &notify);
        let mut child = program.spawn().map_err(Failure::of("start tinylogd"))?;

        let mut word = [0; 16];
        let sent = readiness.recv(&mut word).and_then(|_| {
            let client = UnixDatagram::unbound()?;
            client.send_to(format!("<13>test: {MESSAGE}").as_bytes(), &socket)
        });
        let stopped = kill_process(Pid::from_child(&child), Signal::TERM);
        let ended = process::wait_until(&mut child, Instant::now() + TIME);
        _ = child.kill();
        sent.map_err(Failure::of("send a message to tinylogd"))?;
        stopped.map_err(|error| Failure::of("stop tinylogd")(error.into()))?;
        let status = ended.map_err(Failure::of("wait for tinylogd"))?;
        if !status.is_some_and(|status| status.success()) {
            return Err(Failure::Failed(format!("tinylogd ended with {status:?}")));
        }
        let log =
            fs::read_to_string(folder.path().join("log")).map_err(Failure::of("read the log"))?;
        if log.lines().filter(|line| line.ends_with(MESSAGE)).count() == 1 {
            return Ok(());
        }
        Err(Failure::Failed(format!("the log must have the message exactly once:\n{log}")))
    }
}
