//! Starting: arguments, the directory, the socket's path, and the output.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;

use rustix::fs::Mode;
use rustix::process::{Signal, umask};

use crate::daemon::{ARGUMENTS, Logd, command, knows, longest, name};
use crate::home::{Home, eventually, in_words, read};

/// Runs the daemon with arguments that make it exit. Returns its status, standard output and
/// standard error.
fn end_with(home: &Home, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut child = command(home, arguments).spawn().unwrap();
    let status = eventually("the daemon to end", || child.try_wait().unwrap());
    let [printed, said] = ["stdout", "stderr"].map(|name| read(&home.path(name)));
    (status.code(), String::from_utf8(printed).unwrap(), in_words(said))
}

/// Runs the daemon, which must fail with status 1 and name the reason in one line.
fn fails(home: &Home, socket: &str, dir: &str, why: &str) {
    let (status, printed, said) = end_with(home, &["--socket", socket, "--dir", dir]);
    assert_eq!((status, &*printed), (Some(1), ""), "{said}");
    assert!(said.starts_with("logd: ") && said.contains(why), "{said:?}, not {why:?}");
    assert!(said.ends_with('\n') && said.lines().count() == 1, "{said:?}");
}

pub(crate) fn mode_is_exactly_the_sockets_permissions() {
    for mask in [0o000, 0o022, 0o777] {
        for (arguments, mode) in [
            (&[][..], 0o666),
            (&["--mode", "600"], 0o600),
            (&["--mode", "0777"], 0o777),
            (&["--mode", "000"], 0),
        ] {
            let home = Home::new();
            // This mask applies only to files that the daemon creates.
            let mut started = command(&home, &["--socket", "socket", "--dir", "logs"]);
            let before = umask(Mode::from_raw_mode(mask));
            let child = started.args(arguments).spawn();
            umask(before);
            let mut child = child.unwrap();
            let path = home.socket();
            let metadata = eventually("the socket", || fs::symlink_metadata(&path).ok());
            child.kill().unwrap();
            child.wait().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o7777, mode, "mask {mask:o}");
        }
    }
}

pub(crate) fn wrong_arguments_exit_with_2_and_leave_no_socket() {
    let both = ["--socket", "socket", "--dir", "logs"];
    let with = |more: &[&'static str]| [&both[..], more].concat();
    let wrong = [
        (vec![], "--socket"),
        (vec!["--dir", "logs"], "--socket PATH is missing"),
        (vec!["--socket", "socket"], "--dir DIR is missing"),
        (vec!["--dir", "logs", "--socket"], "--socket"),
        // For an empty path the kernel would choose an unknown name.
        (vec!["--socket", "", "--dir", "logs"], "--socket PATH is missing"),
        (vec!["--socket", "socket", "--dir", ""], "--dir DIR is missing"),
        (with(&["--unknown"]), "--unknown"),
        (with(&["-x"]), "-x"),
        (with(&["more"]), "more"),
        (with(&["--inline=yes"]), "--inline"),
        (with(&["--mode"]), "--mode"),
        (with(&["--mode", "8"]), "octal"),
        (with(&["--mode", "1777"]), "octal"),
        (with(&["--mode", "-1"]), "octal"),
        (with(&["--rotate-bytes", "0"]), "bytes"),
        (with(&["--rotate-bytes", "10M"]), "bytes"),
        (with(&["--rotate-bytes", "-5"]), "bytes"),
        (with(&["--keep", "-1"]), "-1"),
        (with(&["--keep", "many"]), "many"),
        (with(&["--keep", "4294967296"]), "4294967296"),
        (with(&["--stall", "5"]), "MS/PERIOD"),
        (with(&["--stall", "5/5"]), "MS/PERIOD"),
    ];
    let home = Home::new();
    for (arguments, word) in wrong.into_iter().filter(|(arguments, _)| knows(arguments)) {
        let (status, printed, said) = end_with(&home, &arguments);
        assert_eq!((status, &*printed), (Some(2), ""), "{arguments:?}: {said}");
        assert!(said.starts_with("logd: ") && said.contains(word), "{arguments:?}: {said}");
        assert!(said.ends_with(&format!("; try '{} --help'\n", name())), "{said}");
        assert!(!home.socket().exists(), "{arguments:?}");
        assert_eq!(home.numbers(), [], "{arguments:?}");
    }
}

pub(crate) fn help_and_version_exit_with_0() {
    let home = Home::new();
    for arguments in [&["--help"][..], &["-h"], &["--socket", "socket", "--help"]] {
        let (status, printed, said) = end_with(&home, arguments);
        assert_eq!((status, &*said), (Some(0), ""));
        let usage = format!("Usage: {} --socket PATH --dir DIR", name());
        assert!(printed.contains(&usage), "{printed}");
        for option in ["--mode", "--rotate-bytes", "--keep", "--inline", "SIGHUP"] {
            assert_eq!(printed.contains(option), knows(&[option]), "{option}: {printed}");
        }
        assert!(printed.ends_with(".\n"), "{printed}");
    }
    let (status, printed, said) = end_with(&home, &["--version"]);
    assert_eq!((status, &*said), (Some(0), ""));
    assert!(
        printed.starts_with(&format!("{} ", name())) && printed.lines().count() == 1,
        "{printed}"
    );
    assert!(!home.socket().exists());
}

pub(crate) fn repro_help_without_a_reader_is_no_panic() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command(&home, &["--help"]).stdout(Stdio::from(writer)).spawn().unwrap();
    let status = eventually("the daemon to end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(home.said(), "");
}

pub(crate) fn a_dir_that_cannot_be_used_is_an_error() {
    let home = Home::new();
    fs::write(home.path("file"), "kept").unwrap();
    // Not even root can create a file in /proc.
    let unusable = [("missing", "ENOENT (2)"), ("file", "ENOTDIR (20)"), ("/proc", "lock: ENOENT")];
    for (dir, why) in unusable {
        for inline in [&[][..], &["--inline"]].into_iter().filter(|it| knows(it)) {
            let arguments = [&["--socket", "socket", "--dir", dir][..], inline].concat();
            let (status, _, said) = end_with(&home, &arguments);
            assert_eq!(status, Some(1), "{said}");
            assert!(said.starts_with(&format!("logd: --dir {dir}: ")), "{said}");
            assert!(said.contains(why) && said.lines().count() == 1, "{said}");
            assert!(!home.socket().exists(), "{dir}: a socket stays");
        }
    }
    assert_eq!(read(&home.path("file")), b"kept");
}

pub(crate) fn a_socket_path_that_cannot_be_bound_is_an_error() {
    let home = Home::new();
    fails(&home, "missing/socket", "logs", "ENOENT (2)");
    fails(&home, &"x".repeat(200), "logs", "ENAMETOOLONG (36)");
    // The message is truncated too, and still ends with a newline.
    fails(&home, &"x".repeat(5000), "logs", "--socket x");
    assert_eq!(home.numbers(), [], "nothing was created");
}

pub(crate) fn a_stale_socket_is_replaced() {
    let home = Home::new();
    let mut killed = Logd::start(&home, &[]);
    killed.client().send(b"first").unwrap();
    home.await_lines(1);
    killed.signal(Signal::KILL);
    killed.await_end();
    assert!(home.socket().exists(), "it is stale");
    let mut logd = Logd::start(&home, &[]);
    logd.client().send(b"second").unwrap();
    logd.stop();
    let texts = home.texts();
    assert_eq!([&*texts[0], &*texts[2]], ["first", "second"], "and between them, why");
}

pub(crate) fn a_socket_in_use_is_an_error_and_stays_in_use() {
    let home = Home::new();
    let socket = UnixDatagram::bind(home.socket()).unwrap();
    fails(&home, "socket", "logs", "in use");
    let client = UnixDatagram::unbound().unwrap();
    client.send_to(b"still here", home.socket()).unwrap();
    assert_eq!(socket.recv(&mut [0; 100]).unwrap(), 10);

    let stream = UnixListener::bind(home.path("stream")).unwrap();
    fails(&home, "stream", "logs", "in use");
    drop(stream);
}

pub(crate) fn what_is_no_socket_is_an_error_and_stays() {
    let home = Home::new();
    fs::write(home.path("file"), "kept").unwrap();
    fs::create_dir(home.path("directory")).unwrap();
    symlink("file", home.path("link")).unwrap();
    symlink("nowhere", home.path("dangling")).unwrap();
    for path in ["file", "directory", "link", "dangling"] {
        fails(&home, path, "logs", "not a socket");
        assert!(fs::symlink_metadata(home.path(path)).is_ok(), "{path} is gone");
    }
    assert_eq!(read(&home.path("file")), b"kept");
}

pub(crate) fn stats_have_the_documented_form() {
    let home = Home::new();
    let mut logd = Logd::start(&home, &[]);
    let client = logd.client();
    for number in 0..300 {
        client.send(format!("message {number}").as_bytes()).unwrap();
    }
    eventually("a line for a second", || logd.figures("second").pop());
    let end = logd.stop();
    end.expect(["received", "written"], [300, 300]);
    for key in ["lost", "refused", "resent", "deaths"] {
        end.expect([key], [0]);
    }
    let second = logd.figures("second").remove(0);
    assert!(second.number("ticks") >= 900, "{second:?}");

    let printed = String::from_utf8(read(&home.path("stdout"))).unwrap();
    for (index, line) in printed.lines().enumerate() {
        let (word, rest) = line.split_once(' ').unwrap();
        let keys = rest.split(' ').map(|field| field.split_once('=').unwrap().0);
        let keys = keys.collect::<Vec<_>>().join(" ");
        let is_last = index + 1 == printed.lines().count();
        assert_eq!(word, ["second", "end", "ready"][if index == 0 { 2 } else { is_last.into() }]);
        let expected = match word {
            "ready" => "t pid worker",
            _ => "t received written lost refused dropped resent deaths ticks on_time paused late",
        };
        assert_eq!(keys, expected);
    }
    check_histogram(&second.fields["late"], second.number("ticks"));
}

fn check_histogram(late: &str, ticks: u64) {
    let pairs = late.split(',').map(|pair| {
        let (micros, count) = pair.split_once(':').unwrap();
        (micros.parse::<u64>().unwrap(), count.parse::<u64>().unwrap())
    });
    let pairs: Vec<(u64, u64)> = pairs.collect();
    assert!(pairs.is_sorted_by(|a, b| a.0 < b.0), "{late}");
    assert_eq!(pairs.iter().map(|pair| pair.1).sum::<u64>(), ticks, "each tick has a lateness");
}

pub(crate) fn without_stats_nothing_is_printed() {
    let home = Home::new();
    let mut child = command(&home, &["--socket", "socket", "--dir", "logs"]).spawn().unwrap();
    let client = UnixDatagram::unbound().unwrap();
    eventually("the socket", || client.send_to(b"hello", home.socket()).ok());
    home.await_lines(1);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let status = eventually("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert_eq!(read(&home.path("stdout")), b"");
    assert_eq!(home.said(), "");
}

pub(crate) fn a_log_that_another_process_writes_is_an_error() {
    use rustix::fs::{FlockOperation, flock};
    let home = Home::new();
    let other = fs::File::create(home.dir().join("lock")).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    let [socket, dir] = [home.socket(), home.dir()].map(|path| path.to_str().unwrap().to_owned());
    fails(&home, &socket, &dir, "another process writes to the log");
    assert!(!home.socket().exists());
}

/// Any user who may read the directory could keep the daemon from starting, or from reopening.
pub(crate) fn repro_a_reader_of_the_directory_holds_nothing() {
    use rustix::fs::{FlockOperation, flock};
    let home = Home::new();
    let theirs = fs::File::open(home.dir()).unwrap();
    flock(&theirs, FlockOperation::LockShared).unwrap();
    let mut logd = Logd::start(&home, &[]);
    logd.client().send(b"first").unwrap();
    home.await_lines(1);
    let log = fs::File::open(home.log(0)).unwrap();
    flock(&log, FlockOperation::LockShared).unwrap();
    logd.replace_worker();
    logd.client().send(b"second").unwrap();
    logd.stop();
    assert_eq!(home.texts(), ["first", "second"]);
    let mode = fs::metadata(home.dir().join("lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may lock it");
}

/// It accepted messages, and lost them.
pub(crate) fn repro_no_client_can_send_before_the_directory_is_locked() {
    use rustix::fs::{FlockOperation, flock};
    let home = Home::new();
    let other = fs::File::create(home.dir().join("lock")).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    let mut command = command(&home, &ARGUMENTS);
    let mut child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(!home.socket().exists() && child.try_wait().unwrap().is_none());
    drop(other);
    eventually("the socket", || home.socket().exists().then_some(()));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let status = eventually("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

/// It aborted, and left its mark and its socket behind.
pub(crate) fn repro_an_intake_that_no_system_has_is_a_wrong_argument() {
    let least = 4 * longest();
    for size in ["18446744073709551615", "70000000000000", &(least - 1).to_string()] {
        let home = Home::new();
        let (status, _, said) = end_with(&home, &[&ARGUMENTS[..], &["--intake", size]].concat());
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(&format!("from {least} to 1073741824")), "{said}");
    }
}
