//! The daemon as a process: built once, spawned, asked, and killed with what it has started.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::home::{DEADLINE, Home, eventually};

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Builds the program.
pub(crate) fn build() {
    PROGRAM.set(ipc_tests::example::build("ipc-worker", "logd")).unwrap();
}

/// The arguments that the figures need.
pub(crate) const ARGUMENTS: [&str; 5] = ["--socket", "socket", "--dir", "logs", "--stats"];

/// Returns a command with these arguments, in the home and with its output in files there.
pub(crate) fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = bare_command(home, arguments);
    command
        .stdout(File::create(home.path("stdout")).unwrap())
        .stderr(File::create(home.path("stderr")).unwrap());
    command
}

/// The same, with output that is left to the caller: it takes nothing from a daemon that runs.
pub(crate) fn bare_command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM.get().unwrap());
    command.args(arguments).current_dir(home.path(".")).stdin(Stdio::null());
    command
}

/// A daemon that runs; it is killed when this goes.
pub(crate) struct Logd<'a> {
    home: &'a Home,
    child: Child,
}

/// A line of figures: its word and its fields.
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

    /// Starts a daemon by a command with the usual arguments, and waits until it is ready.
    pub(crate) fn spawn(home: &'a Home, command: &mut Command) -> Self {
        Self::try_spawn(home, command).unwrap_or_else(|said| panic!("it has ended: {said}"))
    }

    /// The same, or returns what a daemon that has ended before has said.
    pub(crate) fn try_spawn(home: &'a Home, command: &mut Command) -> Result<Self, String> {
        let mut logd = Self { home, child: command.spawn().unwrap() };
        let is_ready = eventually("the daemon to be ready", || {
            let has_ended = !logd.is_running();
            let is_ready = logd.figures("ready").pop().is_some();
            (has_ended || is_ready).then_some(is_ready)
        });
        if is_ready { Ok(logd) } else { Err(logd.said()) }
    }

    /// Returns what it has said on standard error; see [`Home::said`].
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

    /// Returns its whole lines of figures that begin with the word.
    pub(crate) fn figures(&self, word: &str) -> Vec<Figures> {
        let mut all = figures(self.home);
        all.retain(|figures| figures.word == word);
        all
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the worker that was started last.
    pub(crate) fn worker(&self) -> Option<Pid> {
        let started = figures(self.home).into_iter().rfind(|it| it.fields.contains_key("worker"));
        started.and_then(|it| Pid::from_raw(it.fields["worker"].parse().unwrap()))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn signal_worker(&self, signal: Signal) {
        kill_process(self.worker().unwrap(), signal).unwrap();
    }

    /// Kills the worker and waits until another one is ready.
    pub(crate) fn replace_worker(&self) {
        self.replace_worker_after(|| ());
    }

    /// The same, with a look at what the worker has left.
    pub(crate) fn replace_worker_after(&self, look: impl FnOnce()) {
        let before = self.figures("started").len();
        self.signal_worker(Signal::KILL);
        look();
        eventually("a new worker", || (self.figures("started").len() > before).then_some(()));
    }

    /// Returns a socket that sends to the daemon, and never waits longer than the deadline.
    pub(crate) fn client(&self) -> UnixDatagram {
        let client = UnixDatagram::unbound().unwrap();
        client.connect(self.home.socket()).unwrap();
        client.set_write_timeout(Some(DEADLINE)).unwrap();
        client
    }

    /// Sends so many messages, and waits for each to be taken.
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

    /// Stops it with SIGTERM; it must end well, and its socket's path with it.
    pub(crate) fn stop(&mut self) -> Figures {
        self.signal(Signal::TERM);
        self.expect_good_end()
    }

    /// Waits for an end with nothing left to be written, and returns the last figures.
    pub(crate) fn expect_good_end(&mut self) -> Figures {
        let status = self.await_end();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        assert!(!self.home.socket().exists(), "the socket's path stays");
        self.figures("end").pop().unwrap()
    }
}

impl Drop for Logd<'_> {
    fn drop(&mut self) {
        let runs = self.child.try_wait().is_ok_and(|status| status.is_none());
        let worker = self.worker().filter(|_| runs);
        _ = self.child.kill();
        _ = self.child.wait();
        // One that runs ends by itself now; one that is stopped does not.
        _ = worker.map(|worker| kill_process(worker, Signal::KILL));
        if std::thread::panicking() {
            eprintln!("the daemon has said:\n{}", self.said());
        }
    }
}

impl Figures {
    pub(crate) fn number(&self, key: &str) -> u64 {
        self.fields[key].parse().unwrap()
    }
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
