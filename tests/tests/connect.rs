//! Two programs, neither forked from the other, meet at a path; and sockets that a program was
//! started with.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and takes descriptors over"
)]

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use ipc_frame::Header;
use ipc_tests::around::proc;
use ipc_tests::cases::skip;
use ipc_tests::fds::{self, Fds, is_cloexec};
use ipc_tests::forked::soon;
use ipc_tests::{cases, seccomp};
use ipc_transport::{
    Arrived, Inbox, Instant, Interest, Listener, Outbox, PassFds, Peer, Seqpacket, Socket,
    SocketError, Stream, Transport, TransportError, Watched, connect, duplicate, inherit, wait,
};
use rustix::fs::OFlags;
use tempfile::TempDir;

/// Tells a program of this test its role.
const ROLE: &str = "IPC_TESTS_ROLE";

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    (home, path)
}

fn wait_for(fd: impl AsFd) {
    assert_eq!(wait(&mut [Watched::new(fd.as_fd(), Interest::Input)], Some(soon())), Ok(true));
}

/// Waits for the next connection.
fn accept<S: Socket>(listener: &mut Listener<S>) -> S {
    wait_for(&*listener);
    listener.accept().unwrap().unwrap()
}

/// Starts this program again by exec, so that neither process is a fork of the other.
fn program(role: &str, path: &Path) -> Command {
    let mut command = Command::new(proc("self/exe"));
    command.env(ROLE, role).arg(path).stdin(Stdio::null());
    command
}

fn next_frame<S: Socket + PassFds>(from: &mut S, inbox: &mut Inbox<1024>) -> Header {
    loop {
        if let Some(header) = inbox.advance().unwrap() {
            return header;
        }
        match inbox.receive_with(from, 1).unwrap() {
            Arrived::WouldBlock => wait_for(&*from),
            Arrived::Bytes(_) | Arrived::TakeFrames => {}
        }
    }
}

/// Serves one request: checks the client's identity, and writes to the file that came with it.
fn serve<S: Socket + PassFds>(path: &Path) {
    let mut listener = Listener::<S>::bind(path, 0o600).unwrap();
    println!("ready");
    let mut socket = accept(&mut listener);
    let mut inbox = Inbox::new();
    let header = next_frame(&mut socket, &mut inbox);
    let mut arrival = inbox.current();
    let peer = Peer::of(&socket).unwrap();
    assert_eq!(peer.pid.to_le_bytes(), arrival.payload);
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    let pidfd = Peer::pidfd_of(&socket).unwrap();
    let mut file = File::from(arrival.fds.take_first().unwrap());
    file.write_all(b"written by the server").unwrap();
    let mut outbox = Outbox::<1024, 4>::new();
    outbox.push(Header::reply(header.id()), &[b"done"]).unwrap();
    assert!(outbox.flush_with(&mut socket).unwrap().complete);
    match pidfd {
        Some(pidfd) => {
            assert!(is_cloexec(&pidfd) && pidfd.as_raw_fd() > 2);
            wait_for(pidfd);
            println!("the client has closed");
        }
        None => println!("no pidfd"),
    }
}

fn ask<S: Socket + PassFds>(path: &Path) {
    let mut socket: S = connect(path).unwrap().unwrap();
    let mode = rustix::fs::fcntl_getfl(&socket).unwrap();
    assert!(is_cloexec(&socket) && !mode.contains(OFlags::NONBLOCK));
    let mut file = tempfile::tempfile().unwrap();
    let mut fds = Fds::new();
    fds.fds().push(duplicate(file.as_fd()).unwrap()).unwrap();
    let pid = std::process::id().to_le_bytes();
    let mut outbox = Outbox::<1024, 4>::new();
    outbox.push_with(Header::request(1, 7), &[&pid], &mut fds.fds()).unwrap();
    assert!(outbox.flush_with(&mut socket).unwrap().complete);
    let mut inbox = Inbox::new();
    assert_eq!(next_frame(&mut socket, &mut inbox).id(), 7);
    assert_eq!(inbox.current().payload, b"done");
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written by the server");
}

fn meet(kind: &str) {
    let (_home, path) = home();
    let mut server =
        program(&format!("serve {kind}"), &path).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = server.stdout.take().unwrap();
    let mut ready = [0; 6];
    output.read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"ready\n");
    assert!(program(&format!("ask {kind}"), &path).status().unwrap().success());
    assert!(server.wait().unwrap().success());
    assert!(!path.exists(), "the path is removed with the listener");
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    if text == "no pidfd\n" {
        skip("a pidfd of the peer", "a kernel of version 6.5 or later");
    }
    assert_eq!(text, "the client has closed\n");
}

fn two_programs_meet_by_stream() {
    meet("stream");
}

fn two_programs_meet_by_seqpacket() {
    meet("seqpacket");
}

fn repro_a_relative_path_is_removed_from_where_it_was_bound() {
    let (home, path) = home();
    std::env::set_current_dir(home.path()).unwrap();
    let listener = Listener::<Stream>::bind("socket", 0o600).unwrap();
    std::env::set_current_dir("/").unwrap();
    assert!(path.exists());
    drop(listener);
    assert!(!path.exists());
}

fn repro_a_path_at_which_listening_fails_does_not_stay() {
    let (_home, path) = home();
    seccomp::refuse(&[libc::SYS_listen], libc::ENOMEM);
    let error = Listener::<Stream>::bind(&path, 0o600).unwrap_err();
    assert!(error.to_string().contains("listen"), "{error}");
    assert!(!path.exists());
}

/// Both looped for ever.
fn repro_where_a_filter_interrupts_for_ever_both_fail() {
    let (_home, path) = home();
    let mut listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    let _waits: Stream = connect(&path).unwrap().unwrap();
    seccomp::refuse(&[libc::SYS_accept4, libc::SYS_connect], libc::EINTR);
    let error = listener.accept().unwrap_err();
    assert_eq!(error.to_string(), "accept4: EINTR (4)");
    let error = connect::<Stream>(&path).unwrap_err();
    assert_eq!(error.to_string(), "connect: EINTR (4)");
}

fn accepting_and_connecting_never_wait() {
    let (_home, path) = home();
    let mut listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    assert!(is_cloexec(&listener));
    assert!(listener.accept().unwrap().is_none());
    let mut connected: Vec<Stream> = Vec::new();
    // Until the backlog is full, and another connect would block.
    while let Some(stream) = connect(&path).unwrap() {
        connected.push(stream);
        assert!(connected.len() < 10_000);
    }
    assert!(connected.len() > 16);
    let mut first = accept(&mut listener);
    assert!(is_cloexec(&first) && first.as_fd().as_raw_fd() > 2);
    connected[0].send(&[b"hello"]).unwrap();
    assert_eq!(first.receive(&mut [0; 8]), Ok(Some(5)));
    assert_eq!(Peer::of(&first).unwrap().pid, rustix::process::getpid().as_raw_pid());
    let accepted: Vec<Stream> = std::iter::from_fn(|| listener.accept().unwrap()).collect();
    assert_eq!(accepted.len() + 1, connected.len());
}

fn a_path_left_behind_is_replaced_and_one_in_use_is_not() {
    let (_home, path) = home();
    // What a killed process leaves there.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    assert_eq!(Listener::<Stream>::bind(&path, 0o600).unwrap_err(), SocketError::InUse);
    assert_eq!(Listener::<Seqpacket>::bind(&path, 0o600).unwrap_err(), SocketError::InUse);
    let refused = connect::<Seqpacket>(&path).unwrap_err();
    assert_eq!(refused.errno.0, libc::EPROTOTYPE);
    assert!(connect::<Stream>(&path).unwrap().is_some(), "the first one still listens");
    drop(listener);
    assert!(!path.exists());
    assert_eq!(connect::<Stream>(&path).unwrap_err().errno.0, libc::ENOENT);
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(Listener::<Stream>::bind(&path, 0o600).unwrap_err(), SocketError::NotSocket);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let long = "x".repeat(200);
    let Err(SocketError::System(error)) = Listener::<Stream>::bind(long.as_str(), 0o600) else {
        panic!("too long");
    };
    assert_eq!(error.errno.0, libc::ENAMETOOLONG);
}

fn a_listener_removes_no_path_but_its_own() {
    let (_home, path) = home();
    let first = Listener::<Seqpacket>::bind(&path, 0o600).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _second = Listener::<Seqpacket>::bind(&path, 0o600).unwrap();
    drop(first);
    assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
}

fn a_paths_permissions_are_those_asked_for() {
    let (_home, path) = home();
    for (umask, mode, expected) in [(0, 0o600, 0o600), (0, 0o666, 0o666), (0o027, 0o666, 0o640)] {
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
        let _listener = Listener::<Stream>::bind(&path, mode).unwrap();
        rustix::process::umask(before);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, expected);
    }
}

/// Also if the next connection would get descriptor 1, because a file has descriptor 0.
fn repro_a_listener_with_closed_streams_keeps_the_connection() {
    for stream in [0, 1] {
        // SAFETY: this case no longer uses it.
        unsafe { libc::close(stream) };
    }
    a_listener_out_of_descriptors_keeps_the_connection();
}

/// The directory's descriptor had that number.
fn repro_a_listener_takes_no_number_of_a_standard_stream() {
    // SAFETY: this case no longer uses it.
    unsafe { libc::close(0) };
    let (_home, path) = home();
    let _listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    assert_eq!(fds::mode(0), None);
}

fn a_listener_out_of_descriptors_keeps_the_connection() {
    let (_home, path) = home();
    let mut listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    let _client: Stream = connect(&path).unwrap().unwrap();
    let null = File::open("/dev/null").unwrap();
    let whole = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let limit = rustix::process::Rlimit { current: Some(32), ..whole };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let hoard: Vec<File> = std::iter::from_fn(|| null.try_clone().ok()).collect();
    assert_eq!(listener.accept().unwrap_err().errno.0, libc::EMFILE);
    drop(hoard);
    assert!(listener.accept().unwrap().is_some());
}

fn a_connection_is_taken_over_at_its_number() {
    for low in [false, true] {
        let (mut left, right) = Stream::pair().unwrap();
        let mut number = rustix::io::dup(&right).unwrap().into_raw_fd();
        if low {
            // Like inetd.
            // SAFETY: this case does not use its standard input.
            assert_eq!(unsafe { libc::dup2(number, 0) }, 0);
            // SAFETY: nothing owns the number.
            assert_eq!(unsafe { libc::close(number) }, 0);
            number = 0;
        }
        drop(right);
        // SAFETY: nothing owns the number.
        let mut taken: Stream = unsafe { inherit(number) }.unwrap();
        assert!(is_cloexec(&taken) && taken.as_fd().as_raw_fd() > 2);
        assert!(!low || rustix::io::fcntl_getfd(std::io::stdin()).is_ok(), "nothing is closed");
        left.send(&[b"hello"]).unwrap();
        assert_eq!(taken.receive(&mut [0; 8]), Ok(Some(5)));
        drop(left);
        assert_eq!(taken.receive(&mut [0; 8]), Err(TransportError::Closed));
    }
}

fn what_is_no_connection_of_the_kind_is_refused_and_stays() {
    let (_home, path) = home();
    let (stream, _other) = Stream::pair().unwrap();
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let tcp = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let listener = OwnedFd::from(UnixListener::bind(&path).unwrap());
    let before = fds::open().len();
    let refusal = |fd: &OwnedFd| {
        // SAFETY: it is refused, so the caller keeps it.
        unsafe { inherit::<Stream>(fd.as_raw_fd()) }.unwrap_err()
    };
    assert_eq!(refusal(&null), SocketError::NotSocket);
    assert_eq!(refusal(&tcp), SocketError::WrongKind { family: 2, kind: 1, expected: 1 });
    let SocketError::System(error) = refusal(&listener) else { panic!("not connected") };
    assert_eq!(error.errno.0, libc::ENOTCONN);
    let number = stream.as_fd().as_raw_fd();
    // SAFETY: as above.
    let wrong = unsafe { inherit::<Seqpacket>(number) }.unwrap_err();
    assert_eq!(wrong, SocketError::WrongKind { family: 1, kind: 1, expected: 5 });
    // SAFETY: as above.
    let wrong = unsafe { Listener::<Stream>::inherit(number) }.unwrap_err();
    assert_eq!(wrong, SocketError::NotListening);
    for number in [-1, i32::MIN, 9_999] {
        // SAFETY: as above; nothing is open there.
        let wrong = unsafe { inherit::<Stream>(number) }.unwrap_err();
        let SocketError::System(error) = wrong else { panic!("{wrong:?}") };
        assert_eq!(error.errno.0, libc::EBADF);
    }
    assert_eq!(fds::open().len(), before);
}

fn a_service_managers_listener_is_taken_over() {
    let (_home, path) = home();
    let manager = UnixListener::bind(&path).unwrap();
    // Not 3 already: dup2 onto itself would leave close-on-exec set.
    let high = rustix::io::fcntl_dupfd_cloexec(&manager, 50).unwrap();
    let number = high.as_raw_fd();
    let mut command = program("inherit", &path);
    let place = move || {
        // SAFETY: the child closes nothing that it needs before exec.
        match unsafe { libc::dup2(number, 3) } {
            3 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: dup2 may be called after fork.
    let command = unsafe { command.pre_exec(place) };
    let mut child = command.spawn().unwrap();
    let mut client: Stream = connect(&path).unwrap().unwrap();
    wait_for(&client);
    let mut space = [0; 16];
    assert_eq!(client.receive(&mut space), Ok(Some(5)));
    assert_eq!(&space[..5], b"hello");
    drop(client);
    assert!(child.wait().unwrap().success());
    assert!(path.exists(), "it belongs to the manager");
}

/// The service of the case above.
fn inherited() {
    // SAFETY: the number was passed to this program, and nothing else uses it.
    let mut listener = unsafe { Listener::<Stream>::inherit(3) }.unwrap();
    assert!(is_cloexec(&listener));
    let mut stream = accept(&mut listener);
    let start = Instant::now();
    assert!(listener.accept().unwrap().is_none(), "it does not block, although the socket would");
    assert!(Instant::now().since(start).as_secs() < 5);
    stream.send(&[b"hello"]).unwrap();
    wait_for(&stream);
    assert_eq!(stream.receive(&mut [0; 8]), Err(TransportError::Closed));
}

cases! {
    all =
    two_programs_meet_by_stream,
    two_programs_meet_by_seqpacket,
    accepting_and_connecting_never_wait,
    repro_where_a_filter_interrupts_for_ever_both_fail,
    repro_a_relative_path_is_removed_from_where_it_was_bound,
    repro_a_path_at_which_listening_fails_does_not_stay,
    a_path_left_behind_is_replaced_and_one_in_use_is_not,
    a_listener_removes_no_path_but_its_own,
    a_paths_permissions_are_those_asked_for,
    a_listener_out_of_descriptors_keeps_the_connection,
    repro_a_listener_with_closed_streams_keeps_the_connection,
    repro_a_listener_takes_no_number_of_a_standard_stream,
    a_connection_is_taken_over_at_its_number,
    what_is_no_connection_of_the_kind_is_refused_and_stays,
    a_service_managers_listener_is_taken_over,
}

fn main() -> ExitCode {
    let role = std::env::var(ROLE).unwrap_or_default();
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or_default());
    match role.as_str() {
        "serve stream" => serve::<Stream>(&path),
        "serve seqpacket" => serve::<Seqpacket>(&path),
        "ask stream" => ask::<Stream>(&path),
        "ask seqpacket" => ask::<Seqpacket>(&path),
        "inherit" => inherited(),
        _ => return all(),
    }
    ExitCode::SUCCESS
}
