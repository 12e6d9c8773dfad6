//! Two programs that connect at a path: hello, typed frames, descriptors, and the ways in which a
//! peer can fail.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use ipc_barrier::{Child, Ended};
use ipc_frame::{Header, Kind, Postcard, PushError};
use ipc_tests::fds::{self, file, id_of, io_uring};
use ipc_tests::forked::{end_of, forked, soon};
use ipc_tests::wire::frame;
use ipc_transport::{
    Connection, ConnectionError, Errno, Faults, Faulty, Hello, Inbox, Instant, Interest, Listener,
    PassFds, Peer, SendError, Seqpacket, Socket, Stream, Transport, TransportError, Watched,
    connect, duplicate, wait,
};
use rustix::process::{Signal, getpid, kill_process};
use tempfile::TempDir;

const HELLO: Hello = Hello::new("spool", 3).fds(2);

/// A number and a text.
type Line<'a> = Postcard<(u32, &'a str)>;

type Side<T = Stream> = Connection<T, 4096>;

pub(crate) fn in_ms(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

/// A path with a listener, and a process that has connected to it and runs `client`.
fn meet<S: Socket>(client: impl FnOnce(S)) -> (S, Child) {
    let home: TempDir = tempfile::tempdir().unwrap();
    let path: PathBuf = home.path().join("socket");
    let mut listener = Listener::<S>::bind(&path, 0o600).unwrap();
    let child = forked(|| client(connect(&path).unwrap().unwrap()));
    let socket = listener.accept_until(soon()).unwrap().unwrap();
    assert_eq!(Peer::of(&socket).unwrap().pid, child.pid());
    (socket, child)
}

fn two_programs<S: Socket + PassFds + AsFd>() {
    let (socket, mut child) = meet(|socket: S| {
        let mut server = Side::new(socket, HELLO);
        let mut own = File::from(file());
        let request = Postcard((7_u32, "write to this"));
        server.send_until(Header::request(1, 9), &request, &[own.as_fd()], soon()).unwrap();
        let (header, got) = server.receive_until(soon()).unwrap();
        assert_eq!((header.kind(), header.id()), (Kind::Reply, 9));
        assert_eq!(got.message(), Ok(Postcard((14_u32, "done"))));
        let mut text = String::new();
        own.rewind().unwrap();
        own.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written by the server");
    });
    let mut client = Side::new(socket, HELLO);
    let (header, mut got) = client.receive_until(soon()).unwrap();
    let Postcard((number, text)): Line<'_> = got.message().unwrap();
    assert_eq!((header.method(), number, text), (1, 7, "write to this"));
    let mut theirs = File::from(got.fds.take_first().unwrap());
    theirs.write_all(b"written by the server").unwrap();
    let reply = Postcard((2 * number, "done"));
    client.send_until(Header::reply(header.id()), &reply, &[], soon()).unwrap();
    assert_eq!(client.receive_until(soon()).err(), Some(ConnectionError::Closed));
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn two_programs_exchange_typed_frames_and_a_descriptor() {
    two_programs::<Stream>();
    two_programs::<Seqpacket>();
    two_programs::<Seqpacket<7>>();
}

pub(crate) fn a_killed_peer_is_closed_after_what_it_had_sent() {
    let (socket, mut child) = meet(|socket: Stream| {
        let mut server = Side::new(socket, HELLO);
        for id in 0..3 {
            server
                .send_until(Header::one_way(1, id), &Postcard((1, "last words")), &[], soon())
                .unwrap();
        }
        // And a frame that is never completed.
        let half = &frame(3, (0, 0), b"half")[..26];
        rustix::io::write(&server, half).unwrap();
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    let mut client = Side::new(socket, HELLO);
    client.open_until(soon()).unwrap();
    assert_eq!(end_of(&mut child), Ended::Killed(9));
    for id in 0..3 {
        let (header, got) = client.receive_until(soon()).unwrap();
        assert_eq!((header.id(), got.message()), (id, Ok(Postcard((1, "last words")))));
    }
    for _ in 0..3 {
        assert_eq!(client.receive_until(soon()).err(), Some(ConnectionError::Closed));
        let sent = client.send_until(Header::one_way(1, 1), &Postcard(1), &[], soon());
        assert_eq!(sent, Err(SendError::Connection(ConnectionError::Closed)));
    }
}

pub(crate) fn a_peer_killed_during_a_wait_ends_the_wait() {
    let (socket, mut child) = meet(|socket: Stream| {
        let mut server = Side::new(socket, HELLO);
        server.open_until(soon()).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        kill_process(getpid(), Signal::KILL).unwrap();
    });
    let mut client = Side::new(socket, HELLO);
    let before = Instant::now();
    assert_eq!(client.receive_until(soon()).err(), Some(ConnectionError::Closed));
    assert!(Instant::now().since(before) < Duration::from_secs(10));
    assert_eq!(end_of(&mut child), Ended::Killed(9));
}

pub(crate) fn a_silent_peer_is_told_at_the_deadline_and_may_go_on() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (socket, mut child) = meet(|socket: Stream| {
        let mut turn = [0];
        (&reader).read_exact(&mut turn).unwrap();
        let mut server = Side::new(socket, HELLO);
        server.open_until(soon()).unwrap();
        (&reader).read_exact(&mut turn).unwrap();
        server.send_until(Header::one_way(1, 1), &Postcard(1), &[], soon()).unwrap();
    });
    let mut client = Side::new(socket, HELLO);
    let is_late =
        |answer: Option<ConnectionError>| assert_eq!(answer, Some(ConnectionError::TimedOut));
    for call in 0..3 {
        let (before, deadline) = (Instant::now(), in_ms(30));
        match call {
            0 => is_late(client.open_until(deadline).err()),
            1 => is_late(client.receive_until(deadline).err()),
            _ => {
                let sent = client.send_until(Header::one_way(1, 1), &Postcard(1), &[], deadline);
                assert_eq!(sent, Err(SendError::NotOpen), "nothing is queued");
            }
        }
        assert!(Instant::now().since(before) >= Duration::from_millis(30));
    }
    writer.write_all(b"x").unwrap();
    client.open_until(soon()).unwrap();
    is_late(client.receive_until(in_ms(30)).err());
    is_late(client.receive_until(Instant::PAST).err());
    writer.write_all(b"x").unwrap();
    client.receive_until(soon()).unwrap();
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn another_version_or_service_is_told_on_both_sides() {
    let others = [Hello::new("spool", 4).fds(2), Hello::new("spools", 3).fds(2)];
    for other in others {
        let (socket, mut child) = meet(|socket: Stream| {
            let mut server = Side::new(socket, other);
            let error = server.receive_until(soon()).err().unwrap();
            assert!(is_about(error, [other, HELLO]), "{error}");
        });
        let mut client = Side::new(socket, HELLO);
        let sent = client.send_until(Header::request(1, 1), &Postcard(1), &[], soon());
        let Err(SendError::Connection(error)) = sent else { panic!("{sent:?}") };
        assert!(is_about(error, [HELLO, other]), "{error}");
        assert_eq!(client.try_receive().err(), Some(error), "the error is final");
        assert_eq!(end_of(&mut child), Ended::Exited(0));
    }
}

fn is_about(error: ConnectionError, both: [Hello; 2]) -> bool {
    let words = |hello: Hello| (hello.service, hello.version);
    let ConnectionError::OtherService { ours, theirs } = error else { return false };
    [ours, theirs].map(words) == both.map(words)
}

/// This side's connection, and the socket of a peer that has sent its hello and then does anything.
fn hostile(hello: Hello) -> (Side, Stream) {
    let (own, peer) = Stream::pair().unwrap();
    let mut own = Side::new(own, hello);
    let mut other = Side::new(Stream::from(duplicate(peer.as_fd()).unwrap()), hello.fds(2));
    other.flush().unwrap();
    own.open_until(soon()).unwrap();
    other.open_until(soon()).unwrap();
    (own, peer)
}

pub(crate) fn descriptors_come_only_where_they_are_allowed() {
    let open = fds::open().len();
    let none = Hello::new("spool", 3);
    for hello in [none, none.fds(1)] {
        let (mut own, mut peer) = hostile(hello);
        let file = file();
        let many = [file.as_fd(); 3];
        let refused = own.try_send(Header::request(1, 1), &Postcard(1), &many);
        assert_eq!(refused, Err(SendError::Push(PushError::TooManyFds { count: 3, limit: 2 })));
        let refused = own.try_send(Header::note(1, 1), &Postcard(1), &many[..1]);
        assert_eq!(
            refused,
            Err(SendError::Push(PushError::TooManyFds { count: 1, limit: 0 })),
            "notes carry no descriptors"
        );
        peer.send_with(&[&frame(1, (2, 0), b"")], &many[..2]).unwrap();
        let error = ConnectionError::FdsNotAllowed { count: 2, limit: hello.fds };
        assert_eq!(own.receive_until(soon()).err(), Some(error));
        assert_eq!(own.receive_until(soon()).err(), Some(error), "the error is final");
    }
    // Nor are they held for an incomplete frame.
    let (mut own, mut peer) = hostile(none.fds(1));
    let two = file();
    let before = fds::open().len();
    peer.send_with(&[&frame(1, (2, 0), b"half")[..25]], &[two.as_fd(); 2]).unwrap();
    assert_eq!(own.receive_until(in_ms(10)).err(), Some(ConnectionError::TimedOut));
    assert_eq!(fds::open().len(), before + 1, "as many as allowed");
    drop((own, peer, two));
    // Descriptors that no frame announces are closed.
    let (mut own, mut peer) = hostile(none);
    let file = file();
    peer.send_with(&[&frame(1, (0, 0), b"")], &[file.as_fd(); 9]).unwrap();
    assert!(own.receive_until(soon()).unwrap().1.fds.is_empty());
    drop((own, peer, file));
    assert_eq!(fds::open().len(), open);
}

pub(crate) fn a_flood_is_taken_frame_by_frame_and_fills_nothing() {
    let (socket, mut child) = meet(|socket: Stream| {
        let mut server = Side::new(socket, HELLO);
        let mut id = 0;
        // Until the other side is gone.
        while server
            .send_until(Header::one_way(1, id), &Postcard((1, "flood")), &[], soon())
            .is_ok()
        {
            id += 1;
        }
    });
    let mut client = Side::new(socket, HELLO);
    for id in 0..20_000 {
        assert_eq!(client.receive_until(soon()).unwrap().0.id(), id);
    }
    drop(client);
    assert_eq!(end_of(&mut child), Ended::Exited(0));
}

pub(crate) fn a_peer_that_does_not_receive_holds_a_sender_until_its_deadline() {
    let (mut own, peer) = hostile(HELLO);
    let text = "x".repeat(3_000);
    let mut sent = 0;
    let error = loop {
        match own.send_until(Header::one_way(1, sent), &Postcard((1, &*text)), &[], in_ms(40)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, SendError::Connection(ConnectionError::TimedOut));
    assert!(own.wants_output());
    // The peer was only slow: that frame was queued, and each frame arrives once.
    let mut peer = peer;
    let mut inbox = Inbox::<4096>::new();
    let mut next = 0;
    while next <= sent {
        own.flush().unwrap();
        _ = inbox.receive(&mut peer).unwrap();
        while let Some(header) = inbox.advance().unwrap() {
            assert_eq!(header.id(), next);
            next += 1;
        }
    }
    assert!(!own.wants_output());
}

pub(crate) fn half_a_frame_and_silence_end_at_the_deadline() {
    let (mut own, mut peer) = hostile(HELLO);
    let whole = frame(1, (0, 0), b"late");
    peer.send(&[&whole[..25]]).unwrap();
    assert_eq!(own.receive_until(in_ms(30)).err(), Some(ConnectionError::TimedOut));
    peer.send(&[&whole[25..]]).unwrap();
    assert_eq!(own.receive_until(soon()).unwrap().1.payload, b"late");
}

pub(crate) fn a_frame_longer_than_agreed_ends_the_connection() {
    let (mut own, mut peer) = hostile(HELLO);
    peer.send(&[&frame(1, (0, 0), &[1; 4073])]).unwrap();
    let error = own.receive_until(soon()).err().unwrap();
    assert!(matches!(error, ConnectionError::Frames(_)), "{error}");
    assert_eq!(own.try_receive().err(), Some(error), "the error is final");
}

pub(crate) fn a_refused_descriptor_costs_its_own_frame_only() {
    let Some(ring) = io_uring(0) else {
        ipc_tests::cases::skip("an io_uring", "a kernel that has it")
    };
    let (mut own, peer) = hostile(HELLO);
    let refused = own.try_send(Header::request(1, 1), &Postcard(1), &[ring.as_fd()]);
    let is_refused =
        |error| matches!(error, ConnectionError::Transport(TransportError::FdsRefused(_)));
    assert!(
        matches!(refused, Err(SendError::Connection(error)) if is_refused(error)),
        "{refused:?}"
    );
    let own_file = file();
    own.try_send(Header::request(1, 2), &Postcard(1), &[own_file.as_fd()]).unwrap();
    let mut inbox = Inbox::<4096>::new();
    let mut peer = peer;
    assert!(fds::receive(&mut inbox, &mut peer).unwrap().is_some());
    assert_eq!(inbox.advance().unwrap().unwrap().id(), 2);
    assert_eq!(inbox.current().fds.first().map(id_of), Some(id_of(&own_file)));
}

pub(crate) fn a_sender_without_descriptors_left_queues_nothing() {
    let (mut own, _peer) = hostile(HELLO);
    let file = file();
    let open = fds::open().len();
    fds::limit(32);
    let hoard: Vec<OwnedFd> = std::iter::from_fn(|| file.try_clone().ok()).collect();
    let refused = own.try_send(Header::request(1, 1), &Postcard(1), &[file.as_fd()]);
    drop(hoard);
    let Err(SendError::NoFd(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.errno, Errno(libc::EMFILE));
    assert!(!own.wants_output());
    assert_eq!(fds::open().len(), open);
}

/// A loop that serves several clients with one wait, and never blocks.
pub(crate) fn an_event_loop_serves_several_programs() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let mut listener = Listener::<Stream>::bind(&path, 0o600).unwrap();
    assert!(listener.accept_until(in_ms(10)).unwrap().is_none());
    let mut children: Vec<Child> = (0_u32..4)
        .map(|number| {
            forked(|| {
                let socket: Stream = connect(&path).unwrap().unwrap();
                let mut server = Side::new(socket, HELLO);
                for id in 0..200 {
                    let request = Postcard((number, "again"));
                    server.send_until(Header::request(1, id), &request, &[], soon()).unwrap();
                    let (header, got) = server.receive_until(soon()).unwrap();
                    assert_eq!((header.id(), got.message()), (id, Ok(Postcard(number + 1))));
                }
            })
        })
        .collect();
    let (mut clients, mut ended): (Vec<Side>, _) = (Vec::new(), 0);
    while ended < children.len() {
        let mut watched = vec![Watched::new(listener.as_fd(), Interest::Input)];
        for client in &clients {
            watched.push(Watched::new(client.as_fd(), Interest::Input));
            if client.wants_output() {
                watched.push(Watched::new(client.as_fd(), Interest::Output));
            }
        }
        assert!(wait(&mut watched, Some(soon())).unwrap());
        drop(watched);
        while let Some(socket) = listener.accept().unwrap() {
            clients.push(Side::new(socket, HELLO));
        }
        clients.retain_mut(|client| match serve(client) {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error, ConnectionError::Closed);
                ended += 1;
                false
            }
        });
    }
    for child in &mut children {
        assert_eq!(end_of(child), Ended::Exited(0));
    }
}

/// Answers every frame that has come from a client.
fn serve(client: &mut Side) -> Result<(), ConnectionError> {
    while let Some((header, got)) = client.try_receive()? {
        let Postcard((number, _)): Line<'_> = got.message().unwrap();
        client.try_send(Header::reply(header.id()), &Postcard(number + 1), &[]).unwrap();
    }
    Ok(())
}

/// All the temporary faults that a transport may show: short counts, delays and errors.
pub(crate) fn harmless_faults_change_no_frame_of_a_connection() {
    for seed in 0..10 {
        let (left, right) = Stream::pair().unwrap();
        let faulty = |socket, seed| Faulty::new(socket, Faults::HARMLESS, seed);
        let mut left = Side::<Faulty<Stream>>::new(faulty(left, seed), HELLO);
        let mut right = Side::<Faulty<Stream>>::new(faulty(right, seed + 100), HELLO);
        let own = file();
        let (mut sent, mut arrived) = (0_u64, 0_u64);
        while arrived < 300 {
            let count = usize::try_from(sent % 3).unwrap();
            let fds = [own.as_fd(); 2];
            match left.try_send(Header::request(1, sent), &Postcard(sent), &fds[..count]) {
                Ok(()) => sent += 1,
                Err(SendError::NotOpen) => _ = passing(left.try_open()),
                Err(SendError::Push(PushError::Full)) => {}
                Err(error) => panic!("{error}"),
            }
            while let Some(Some((header, got))) = passing(right.try_receive()) {
                let count = usize::try_from(arrived % 3).unwrap();
                assert_eq!((header.id(), got.message()), (arrived, Ok(Postcard(arrived))));
                assert_eq!((got.fds_lost, got.fds.len()), (None, count));
                arrived += 1;
            }
        }
    }
}

fn passing<T>(answer: Result<T, ConnectionError>) -> Option<T> {
    answer.inspect_err(|error| assert_eq!(*error, ConnectionError::Transport(Faults::ERROR))).ok()
}
