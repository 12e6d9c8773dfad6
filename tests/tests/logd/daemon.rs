//! The daemon as a process: built once, started, queried, and killed with everything it started.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use ipc_tests::around::proc;
use ipc_tests::cases::leave_out;
use rustix::process::{Pid, Signal, kill_process};

use crate::home::{DEADLINE, Home, eventually};

/// The daemon under test, and logd for what only logd can do.
static PROGRAMS: OnceLock<[PathBuf; 2]> = OnceLock::new();

/// Whether the cases run with tinylogd, which lacks only what is for measurements.
pub(crate) fn is_tiny() -> bool {
    std::env::var_os("IPC_TESTS_LOGD").is_some_and(|name| name == "tinylogd")
}

/// Returns the daemon's name.
pub(crate) fn name() -> &'static str {
    if is_tiny() { "tinylogd" } else { "logd" }
}

/// Builds the programs.
pub(crate) fn build() {
    let logd = ipc_tests::example::build("ipc-worker", "logd");
    let daemon = if is_tiny() { ipc_tests::example::build_tinylogd() } else { logd.clone() };
    PROGRAMS.set([daemon, logd]).unwrap();
}

/// Returns a command that checks whether logs are whole.
pub(crate) fn check_command(home: &Home, dir: &[&str]) -> Command {
    let [_, logd] = PROGRAMS.get().unwrap();
    let mut command = Command::new(logd);
    command.arg("--check").args(dir).current_dir(home.path("."));
    command
}

/// Returns the length limit of messages; longer ones are truncated.
pub(crate) fn longest() -> usize {
    if is_tiny() { 4 << 10 } else { 16 << 10 }
}

/// logd's default for `--intake`.
const INTAKE: &str = "1048576";

/// Options that only logd has.
const LOGDS: [&str; 2] = ["--inline", "--stall"];

/// The usual arguments, including those for figures.
pub(crate) const ARGUMENTS: [&str; 5] = ["--socket", "socket", "--dir", "logs", "--stats"];

/// Returns a command with these arguments that runs in the home and writes its output to files
/// there.
pub(crate) fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = bare_command(home, arguments);
    command
        .stdout(File::create(home.path("stdout")).unwrap())
        .stderr(File::create(home.path("stderr")).unwrap());
    command
}

/// The same with the caller's output, so that the files of a running daemon stay untouched.
pub(crate) fn bare_command(home: &Home, arguments: &[&str]) -> Command {
    let [daemon, _] = PROGRAMS.get().unwrap();
    let mut command = Command::new(daemon);
    expect_known(arguments.iter().copied());
    if is_tiny() {
        // Later options win.
        command.args(["--intake", INTAKE]);
    }
    let arguments = arguments.iter().filter(|argument| !(is_tiny() && **argument == "--stats"));
    command.args(arguments).current_dir(home.path(".")).stdin(Stdio::null());
    command
}

/// A running daemon, killed on drop.
pub(crate) struct Logd<'a> {
    home: &'a Home,
    child: Child,
    /// Where tinylogd reports readiness, unless a case uses that itself.
    notices: Option<UnixDatagram>,
}

/// A line of figures: its first word and its fields.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) word: String,
    pub(crate) fields: HashMap<String, String>,
}

impl<'a> Logd<'a> {
    /// Starts a daemon for the home's socket and directory, and waits until it is ready.
    pub(crate) fn start(home: &'a Home, arguments: &[&str]) -> Self {
        Self::spawn(home, command(home, &ARGUMENTS).args(arguments))
    }

    /// Starts a daemon from a command with the usual arguments, and waits until it is ready.
    pub(crate) fn spawn(home: &'a Home, command: &mut Command) -> Self {
        Self::try_spawn(home, command).unwrap_or_else(|said| panic!("it has ended: {said}"))
    }

    /// The same, but returns the standard error of a daemon that exits before it is ready.
    pub(crate) fn try_spawn(home: &'a Home, command: &mut Command) -> Result<Self, String> {
        Self::try_spawn_with(home, command, |_child| ())
    }

    /// The same, with a function to call right after the daemon was started.
    pub(crate) fn try_spawn_with(
        home: &'a Home,
        command: &mut Command,
        prepare: impl FnOnce(&Child),
    ) -> Result<Self, String> {
        expect_known(command.get_args().filter_map(OsStr::to_str));
        let notices = is_tiny().then(|| notices(home, command)).flatten();
        let mut logd = Self { home, child: command.spawn().unwrap(), notices };
        prepare(&logd.child);
        let is_ready = eventually("the daemon to be ready", || {
            let has_ended = !logd.is_running();
            let is_ready = logd.is_ready();
            (has_ended || is_ready).then_some(is_ready)
        });
        if is_ready { Ok(logd) } else { Err(logd.said()) }
    }

    fn is_ready(&self) -> bool {
        match &self.notices {
            Some(notices) => notices.recv(&mut [0; 16]).is_ok(),
            None if is_tiny() => self.home.socket().exists() && self.has_log(),
            None => self.figures("ready").pop().is_some(),
        }
    }

    /// Whether the worker has opened the log, which it does before it is ready.
    fn has_log(&self) -> bool {
        let Some(worker) = self.worker() else { return false };
        let fds = fs::read_dir(proc(&format!("{}/fd", worker.as_raw_pid())));
        let mut files = fds.into_iter().flatten().flatten();
        let log = self.home.log(0);
        files.any(|file| fs::read_link(file.path()).is_ok_and(|path| path == log))
    }

    /// Returns its standard error; see [`Home::said`].
    pub(crate) fn said(&self) -> String {
        self.home.said()
    }

    /// Returns how many lines of standard error contain these words.
    pub(crate) fn said_count(&self, words: &str) -> usize {
        self.said().lines().filter(|line| line.contains(words)).count()
    }

    pub(crate) fn await_said(&self, words: &str) {
        eventually(words, || (self.said_count(words) > 0).then_some(()));
    }

    /// Returns its complete lines of figures that start with the word.
    pub(crate) fn figures(&self, word: &str) -> Vec<Figures> {
        if is_tiny() {
            leave_out("tinylogd has no figures");
        }
        let mut all = figures(self.home);
        all.retain(|figures| figures.word == word);
        all
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the worker that was started most recently.
    pub(crate) fn worker(&self) -> Option<Pid> {
        if is_tiny() {
            let main = self.child.id();
            let children = fs::read_to_string(proc(&format!("{main}/task/{main}/children")));
            return Pid::from_raw(children.ok()?.split_whitespace().next_back()?.parse().unwrap());
        }
        let started = figures(self.home).into_iter().rfind(|it| it.fields.contains_key("worker"));
        started.and_then(|it| Pid::from_raw(it.fields["worker"].parse().unwrap()))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn signal_worker(&self, signal: Signal) {
        kill_process(self.worker().unwrap(), signal).unwrap();
    }

    /// Kills the worker and waits until the next one is ready.
    pub(crate) fn replace_worker(&self) {
        self.replace_worker_after(|| ());
    }

    /// The same, with a look at what the worker left behind.
    pub(crate) fn replace_worker_after(&self, look: impl FnOnce()) {
        let before = self.worker();
        self.signal_worker(Signal::KILL);
        look();
        eventually("a new worker", || {
            let is_new = self.worker().is_some_and(|worker| Some(worker) != before);
            (is_new && (!is_tiny() || self.has_log())).then_some(())
        });
    }

    /// Returns a socket that sends to the daemon, with a send timeout.
    pub(crate) fn client(&self) -> UnixDatagram {
        let client = UnixDatagram::unbound().unwrap();
        client.connect(self.home.socket()).unwrap();
        client.set_write_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// Sends `count` messages, and waits until each one was received.
    pub(crate) fn send(&self, text: impl Fn(u32) -> String, count: u32) {
        let client = self.client();
        (0..count).for_each(|number| _ = client.send(text(number).as_bytes()).unwrap());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn await_end(&mut self) -> ExitStatus {
        eventually("the daemon to end", || self.child.try_wait().unwrap())
    }

    /// Stops it with SIGTERM. It must exit successfully and remove its socket. Returns its last
    /// figures if it has any.
    pub(crate) fn stop(&mut self) -> End {
        self.signal(Signal::TERM);
        self.expect_good_end()
    }

    /// The same for a daemon that exits by itself.
    pub(crate) fn expect_good_end(&mut self) -> End {
        let status = self.await_end();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        assert!(!self.home.socket().exists(), "the socket's path stays");
        let figures = (!is_tiny()).then(|| self.figures("end").pop().unwrap());
        End { figures, said: self.said() }
    }
}

impl Drop for Logd<'_> {
    fn drop(&mut self) {
        let runs = self.child.try_wait().is_ok_and(|status| status.is_none());
        let worker = self.worker().filter(|_| runs);
        _ = self.child.kill();
        _ = self.child.wait();
        // A running worker exits by itself now; a stopped one does not.
        _ = worker.map(|worker| kill_process(worker, Signal::KILL));
        if std::thread::panicking() {
            eprintln!("the daemon has said:\n{}", self.said());
        }
    }
}

/// A successful exit, with the last figures if the daemon has any.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) figures: Option<Figures>,
    said: String,
}

impl End {
    /// Compares some of the figures.
    pub(crate) fn expect<const N: usize>(&self, keys: [&str; N], expected: [u64; N]) {
        if let Some(figures) = &self.figures {
            let found = keys.map(|key| figures.number(key));
            assert_eq!(found, expected, "{keys:?}, said: {}", self.said);
        }
    }

    /// Returns a figure that the rest of the case needs.
    pub(crate) fn number(&self, key: &str) -> u64 {
        let figures = self.figures.as_ref();
        figures.unwrap_or_else(|| leave_out("tinylogd has no figures")).number(key)
    }
}

impl Figures {
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.fields[key].parse().unwrap()
    }
}

/// Leaves the case out if the daemon lacks one of these options.
fn expect_known<'a>(mut arguments: impl Iterator<Item = &'a str>) {
    if let Some(option) = arguments.find(|argument| !knows(&[argument])) {
        leave_out(&format!("tinylogd has no {option}"));
    }
}

/// Returns whether the daemon has all of these options.
pub(crate) fn knows(arguments: &[&str]) -> bool {
    !(is_tiny() && arguments.iter().any(|argument| LOGDS.contains(argument)))
}

/// Lets the daemon report readiness to us, unless a case handles that itself.
fn notices(home: &Home, command: &mut Command) -> Option<UnixDatagram> {
    if command.get_envs().any(|(name, _)| name == "NOTIFY_SOCKET") {
        return None;
    }
    let path = home.path("notices");
    _ = fs::remove_file(&path);
    let notices = UnixDatagram::bind(&path).unwrap();
    notices.set_nonblocking(true).unwrap();
    // The daemon may have changed its user.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    command.env("NOTIFY_SOCKET", path);
    Some(notices)
}

fn figures(home: &Home) -> Vec<Figures> {
    let text = fs::read_to_string(home.path("stdout")).unwrap();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole
        .lines()
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let word = words.next().unwrap();
            let fields = words.map(|field| {
                let (key, value) = field.split_once('=').unwrap();
                (key.to_owned(), value.to_owned())
            });
            Figures { word, fields: fields.collect() }
        })
        .collect()
}
