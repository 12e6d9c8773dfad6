//! The example reader, as users get it, under attack: its parser runs what hostile files say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../ipc-worker/examples/heist/archive.rs"]
mod archive;

use std::collections::HashMap;
use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use archive::archive;
use ipc_tests::around::proc;
use ipc_tests::cases::skip;
use ipc_tests::forked::soon;
use ipc_tests::{cases, example, fds, seccomp};
use ipc_transport::Instant;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use rustix::process::{WaitOptions, geteuid, getpid, set_child_subreaper, wait};
use tempfile::TempDir;

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn main() -> ExitCode {
    // Once, before the cases: each runs in a separate process.
    PROGRAM.set(example::build("ipc-worker", "heist")).unwrap();
    run()
}

cases! { run =
    as_root_hostile_files_are_blamed_by_name_and_get_at_nothing,
    without_root_hostile_files_are_blamed_by_name_and_get_at_nothing,
    without_a_sandbox_the_same_files_get_what_they_want,
    landlock_alone_keeps_files_closed,
    a_file_that_takes_for_ever_is_given_up_and_the_next_is_read,
    only_regular_files_below_the_directory_are_opened,
    names_in_archives_reach_the_terminal_as_plain_text,
    damaged_archives_are_refused_and_end_no_worker,
    a_kernel_without_landlock_is_told_and_the_filter_holds,
    a_worker_ends_with_a_main_that_was_killed,
    wrong_arguments_exit_with_2,
    the_demonstration_reads_the_harmless_files,
}

const CANARY: &str = "the canary sings";
const NOBODY: u32 = 65534;
/// Longer than any busy machine needs for one file.
const PATIENT: &str = "--deadline=60000";
const FILTERED: &str = "set aside after 3 tries; the last worker: killed by signal 31 (SIGSYS: a system call that \
     its filter forbids)";

/// A directory to read, with a canary next to it, and a program that any user may run.
struct Vault(TempDir);

impl Vault {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(home.path().join("vault")).unwrap();
        fs::write(home.path().join("canary"), CANARY).unwrap();
        fs::copy(PROGRAM.get().unwrap(), home.path().join("heist")).unwrap();
        // Processes that main leaves behind become this process's children.
        set_child_subreaper(Some(getpid())).unwrap();
        Self(home)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn add(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path("vault").join(name), bytes).unwrap();
    }

    /// Adds an archive that takes over the parser.
    fn add_hostile(&self, what: &str) {
        let canary = self.path("canary");
        self.add(what, &archive(&[('Z', what, canary.to_str().unwrap(), b"")]));
    }

    fn add_harmless(&self, name: &str) {
        self.add(name, &archive(&[('0', "small", "", b"four"), ('0', "large", "", &[1; 600])]));
    }

    fn command(&self, options: &[&str], files: &[&str]) -> Command {
        let mut command = Command::new(self.path("heist"));
        command.args(options).arg(self.path("vault")).args(files).stdin(Stdio::null());
        command
    }

    /// Runs the program, and checks that it leaves no process behind.
    fn run(&self, options: &[&str], files: &[&str]) -> Told {
        Told::by(&mut self.command(options, files))
    }
}

/// The program's output.
struct Told {
    status: Option<i32>,
    /// By file name.
    lines: HashMap<String, String>,
    /// Both streams.
    all: String,
}

impl Told {
    fn by(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        assert_eq!(fds::children(), [], "a process is left");
        let said = String::from_utf8(output.stdout).unwrap();
        let all = said.clone() + &String::from_utf8(output.stderr).unwrap();
        if all.contains("stage filter: ") {
            skip(&all, "a kernel with CONFIG_SECCOMP_FILTER, on a machine of 64 bits");
        }
        let parts = said.lines().filter_map(|line| line.split_once(": "));
        let lines = parts.map(|(name, told)| (name.to_owned(), told.to_owned())).collect();
        Self { status: output.status.code(), lines, all }
    }

    fn of(&self, name: &str) -> &str {
        self.lines.get(name).unwrap_or_else(|| panic!("no line for {name}: {}", self.all))
    }
}

fn as_root_hostile_files_are_blamed_by_name_and_get_at_nothing() {
    if !geteuid().is_root() {
        skip("what requires root", "sudo");
    }
    hostile_files_are_blamed(None);
}

fn without_root_hostile_files_are_blamed_by_name_and_get_at_nothing() {
    hostile_files_are_blamed(geteuid().is_root().then_some(NOBODY));
}

fn hostile_files_are_blamed(user: Option<u32>) {
    let vault = Vault::new();
    let hostile = ["open", "socket", "write", "panic", "hoard"];
    let mut files = Vec::new();
    for (what, harmless) in hostile.into_iter().zip(["1", "2", "3", "4", "5"]) {
        vault.add_hostile(what);
        vault.add_harmless(harmless);
        files.extend([what, harmless]);
    }
    let inherited = inherited(&vault);
    let mut command = vault.command(&[PATIENT], &files);
    user.map(|user| command.uid(user).gid(user));
    // A panic that resolves symbols would open files.
    command.env("RUST_BACKTRACE", "full");
    let told = Told::by(&mut command);
    drop(inherited);
    for harmless in ["1", "2", "3", "4", "5"] {
        assert_eq!(told.of(harmless), "2 records, 604 bytes, the largest 600: large");
    }
    for called in ["open", "socket", "write"] {
        assert_eq!(told.of(called), FILTERED);
    }
    assert!(told.of("panic").ends_with("exited with status 101 (a panic)"), "{}", told.all);
    assert!(told.of("hoard").contains("killed by signal 6 (SIGABRT"), "{}", told.all);
    assert_eq!(told.of("files read"), "5, not read: 5, workers lost: 15");
    assert_eq!(told.status, Some(1));
    assert!(!told.all.contains(CANARY), "{}", told.all);
    assert_eq!(fs::read(vault.path("inherited")).unwrap(), b"");
}

/// A file that main inherits, and its worker might too.
fn inherited(vault: &Vault) -> OwnedFd {
    let file = File::create(vault.path("inherited")).unwrap();
    let file = fcntl_dupfd_cloexec(file, 20).unwrap();
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    file
}

/// Shows that the cases above would catch something.
fn without_a_sandbox_the_same_files_get_what_they_want() {
    let vault = Vault::new();
    let files = ["open", "socket", "write"];
    files.iter().for_each(|what| vault.add_hostile(what));
    let inherited = inherited(&vault);
    let told = vault.run(&[PATIENT, "--no-filter", "--no-landlock"], &files);
    drop(inherited);
    assert!(told.of("open").ends_with(CANARY), "{}", told.all);
    assert!(told.of("socket").ends_with(": a socket"), "{}", told.all);
    // The parser has neither main's standard streams nor main's inherited files.
    assert!(told.of("write").ends_with(": 3 descriptors took it"), "{}", told.all);
    assert!(!told.all.contains("written by the parser"), "{}", told.all);
    assert_eq!(fs::read(vault.path("inherited")).unwrap(), b"");
    assert_eq!(told.status, Some(0));
}

fn landlock_alone_keeps_files_closed() {
    let vault = Vault::new();
    vault.add_hostile("open");
    let told = vault.run(&[PATIENT, "--no-filter"], &["open"]);
    if told.all.contains("no landlock for files") {
        skip("landlock", "a kernel with CONFIG_SECURITY_LANDLOCK, in its list of modules");
    }
    assert!(told.of("open").ends_with("Permission denied (os error 13)"), "{}", told.all);
}

fn a_file_that_takes_for_ever_is_given_up_and_the_next_is_read() {
    let vault = Vault::new();
    vault.add_hostile("spin");
    vault.add_harmless("next");
    let told = vault.run(&["--deadline=4000"], &["spin", "next"]);
    assert_eq!(told.of("spin"), "given up after 4000 ms");
    assert!(told.of("next").starts_with("2 records"), "{}", told.all);
    assert_eq!(told.of("files read"), "1, not read: 1, workers lost: 1");
}

fn only_regular_files_below_the_directory_are_opened() {
    let vault = Vault::new();
    let inside = vault.path("vault");
    vault.add_harmless("harmless");
    fs::create_dir(inside.join("dir")).unwrap();
    vault.add_harmless("dir/deep");
    fs::hard_link(inside.join("harmless"), vault.path("outside")).unwrap();
    symlink(vault.path("outside"), inside.join("link")).unwrap();
    symlink("harmless", inside.join("near")).unwrap();
    symlink(vault.0.path(), inside.join("up")).unwrap();
    mknodat(CWD, inside.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _listener = UnixListener::bind(inside.join("socket")).unwrap();
    File::create(inside.join("huge")).unwrap().set_len((64 << 20) + 1).unwrap();
    let absolute = inside.join("harmless");
    let absolute = absolute.to_str().unwrap();
    let refused = [
        ("link", "it is a Symlink, not a RegularFile"),
        ("near", "it is a Symlink, not a RegularFile"),
        ("up/outside", "it is a Symlink, not a Directory"),
        ("../outside", "it may lead out of the directory"),
        ("dir/../../outside", "it may lead out of the directory"),
        (absolute, "it may lead out of the directory"),
        ("dir", "it is a Directory, not a RegularFile"),
        ("harmless/under", "it is a RegularFile, not a Directory"),
        ("fifo", "it is a Fifo, not a RegularFile"),
        ("socket", "it is a Socket, not a RegularFile"),
        ("huge", "it is larger than 67108864 bytes"),
        ("", "it names no file"),
        ("missing", "No such file or directory (os error 2)"),
    ];
    let mut files = vec!["harmless", "dir/deep"];
    files.extend(refused.map(|(name, _)| name));
    let told = vault.run(&[PATIENT], &files);
    for (name, why) in refused {
        assert_eq!(told.of(name), format!("not opened: {why}"));
    }
    assert_eq!(told.of("files read"), "2, not read: 13, workers lost: 0");
    assert_eq!(told.status, Some(1));
}

fn names_in_archives_reach_the_terminal_as_plain_text() {
    let vault = Vault::new();
    vault.add("escape", &archive(&[('0', "\x1b[2J\nfake: read", "", b"bytes")]));
    let told = vault.run(&[PATIENT], &["escape"]);
    assert_eq!(told.of("escape"), r"1 records, 5 bytes, the largest 5: \u{1b}[2J\nfake: read");
    assert_eq!(told.status, Some(0), "every file was read");
}

fn damaged_archives_are_refused_and_end_no_worker() {
    let vault = Vault::new();
    let whole = archive(&[('0', "name", "", &[1; 600])]);
    vault.add("junk", &[b'?'; 600]);
    vault.add("cut", whole.split_at(1000).0);
    let told = vault.run(&[PATIENT], &["junk", "cut"]);
    assert_eq!(told.of("junk"), "refused: not a tar archive");
    assert_eq!(told.of("cut"), "refused: the archive is cut short");
    assert_eq!(told.of("files read"), "0, not read: 2, workers lost: 0");
}

fn a_kernel_without_landlock_is_told_and_the_filter_holds() {
    let vault = Vault::new();
    vault.add_hostile("open");
    vault.add_harmless("harmless");
    seccomp::refuse(&[libc::SYS_landlock_create_ruleset], libc::ENOSYS);
    let told = vault.run(&[PATIENT], &["open", "harmless"]);
    let lack = "heist: no landlock for files (kernel 5.13): the kernel has none\n";
    assert!(told.all.contains(lack), "{}", told.all);
    assert_eq!(told.of("open"), FILTERED);
    assert!(told.of("harmless").starts_with("2 records"), "{}", told.all);
    assert!(!told.all.contains(CANARY), "{}", told.all);
}

fn a_worker_ends_with_a_main_that_was_killed() {
    let vault = Vault::new();
    vault.add_hostile("spin");
    let mut main = vault.command(&[PATIENT], &["spin"]).spawn().unwrap();
    let (limit, pid) = (soon(), main.id());
    let spins = |worker: u32| {
        let stat = fs::read_to_string(proc(&format!("{worker}/stat"))).unwrap();
        stat.split(' ').nth(13).unwrap().parse::<u32>().unwrap() > 5
    };
    loop {
        assert!(Instant::now() < limit, "no worker is spinning");
        if main.try_wait().unwrap().is_some() {
            skip("the program ends", "a kernel with CONFIG_SECCOMP_FILTER");
        }
        let children = fs::read_to_string(proc(&format!("{pid}/task/{pid}/children")));
        let Ok(children) = children else { skip("children", "a kernel with CONFIG_PROC_CHILDREN") };
        if children.trim().parse().is_ok_and(spins) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    main.kill().unwrap();
    main.wait().unwrap();
    while wait(WaitOptions::NOHANG).is_ok() {
        assert!(Instant::now() < limit, "the worker is still spinning");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn wrong_arguments_exit_with_2() {
    let vault = Vault::new();
    for (options, files) in [(&["--bogus"][..], &["f"][..]), (&[], &[]), (&["--demo"], &["f"])] {
        assert_eq!(vault.run(options, files).status, Some(2));
    }
    let told = Told::by(Command::new(vault.path("heist")).arg("--help"));
    assert_eq!(told.status, Some(0));
    assert!(told.all.starts_with("heist - "), "{}", told.all);
}

fn the_demonstration_reads_the_harmless_files() {
    let vault = Vault::new();
    let told = Told::by(Command::new(vault.path("heist")).args(["--demo", "--deadline=4000"]));
    assert_eq!(told.of("files read"), "3, not read: 10, workers lost: 16");
}
