//! The daemon's messages on any kind of standard error.

#![expect(unsafe_code, reason = "openpty is a C library function")]

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use ipc_tests::cases::skip;
use rustix::process::Signal;

use crate::daemon::{ARGUMENTS, Logd, command};
use crate::home::Home;

/// Starts it with this standard error, makes it complain, and stops it; writing must never block
/// it.
fn complains_to(stderr: Stdio, meanwhile: impl FnOnce(&Logd<'_>)) -> String {
    let home = Home::new();
    let mut command = command(&home, &ARGUMENTS);
    let mut logd = Logd::spawn(&home, command.stderr(stderr));
    for round in 0..4 {
        logd.send(|number| format!("{}", round * 10 + number), 10);
        home.await_lines(usize::try_from(round * 10 + 10).unwrap());
        logd.replace_worker();
    }
    meanwhile(&logd);
    let end = logd.stop();
    end.expect(["written", "deaths"], [40, 4]);
    home.texts().concat()
}

pub(crate) fn words_that_nobody_reads_hold_nothing() {
    let numbers = (0..40).map(|number| number.to_string()).collect::<String>();
    // A pipe that is full.
    let (reader, writer) = std::io::pipe().unwrap();
    let full = fill(&writer);
    assert_eq!(complains_to(writer.try_clone().unwrap().into(), |_| ()), numbers);
    assert!(full > 1000);
    drop(reader);
    // A pipe without a reader.
    assert_eq!(complains_to(writer.into(), |_| ()), numbers);
    // A socket that is full.
    let (reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    fill(&writer);
    assert_eq!(complains_to(OwnedFd::from(writer).into(), |_| ()), numbers);
    drop(reader);
}

/// Fills a pipe, socket or terminal without changing its blocking mode for others. Returns how many
/// bytes fit.
fn fill(fd: &impl AsFd) -> usize {
    let flags = rustix::fs::fcntl_getfl(fd).unwrap();
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut count = 0;
    while let Ok(len) =
        rustix::io::write(fd, &[b'x'; 1000]).or_else(|_| rustix::io::write(fd, b"x"))
    {
        count += len;
    }
    rustix::fs::fcntl_setfl(fd, flags).unwrap();
    count
}

pub(crate) fn a_terminal_that_nobody_reads_holds_nothing() {
    let numbers = (0..40).map(|number| number.to_string()).collect::<String>();
    let mut ends = [0; 2];
    let [main, terminal] = &mut ends;
    let none = std::ptr::null_mut();
    // SAFETY: the call writes two descriptors.
    let opened = unsafe { libc::openpty(main, terminal, none, none.cast(), none.cast()) };
    if opened != 0 {
        skip("a terminal", "mount /dev/pts");
    }
    // SAFETY: both were just opened, and nothing else owns them.
    let [main, terminal] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    fill(&terminal);
    assert_eq!(complains_to(terminal.into(), |_| ()), numbers);
    drop(main);
}

/// A complaint that comes back as a message must not cause another one.
pub(crate) fn words_that_end_in_its_own_socket_do_not_feed_on_themselves() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = command(
        &home,
        &[&ARGUMENTS[..], &["--intake", "65536", "--when-full", "drop-new"]].concat(),
    );
    let mut logd = Logd::spawn(&home, command.stderr(writer));
    drop(command);
    let client = logd.client();
    let forward = std::thread::spawn(move || {
        let lines = BufReader::new(reader).lines();
        let mut count = 0;
        for line in lines.map_while(Result::ok) {
            count += 1;
            _ = client.send(line.as_bytes());
        }
        count
    });
    logd.signal_worker(Signal::STOP);
    logd.send(|number| format!("{number} {}", "x".repeat(200)), 4000);
    std::thread::sleep(Duration::from_secs(2));
    logd.signal_worker(Signal::CONT);
    logd.stop();
    drop(logd);
    let count: u32 = forward.join().unwrap();
    assert!(count < 20, "{count} own lines");
}

/// The last count was never printed, and a reader that does read missed names.
pub(crate) fn repro_a_slow_reader_is_told_of_all_that_is_lost() {
    use std::io::Read;
    let home = Home::new();
    let (mut reader, writer) = std::io::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    let mut command = command(&home, &ARGUMENTS);
    let mut logd = Logd::spawn(&home, command.stderr(writer));
    drop(command);
    logd.signal_worker(Signal::STOP);
    logd.send(|number| format!("{number} {}", "x".repeat(200)), 3000);
    logd.signal(Signal::QUIT);
    let mut said = Vec::new();
    let mut part = [0; 512];
    loop {
        std::thread::sleep(Duration::from_millis(5));
        match reader.read(&mut part).unwrap() {
            0 => break,
            len => said.extend(&part[..len]),
        }
    }
    assert_eq!(logd.await_end().code(), Some(1));
    let said = String::from_utf8(said).unwrap();
    let named = said.lines().filter(|line| line.contains(": lost (")).count();
    let left_out = said.lines().filter_map(|line| line.split_once("left out: "));
    let left_out: usize = left_out.map(|(_, count)| count.parse::<usize>().unwrap()).sum();
    let written = home.texts().len();
    let names = named + said.matches("perhaps not synced").count();
    println!("{named} named, {left_out} left out, {written} written");
    assert!(named > 10, "{said}");
    assert!(names + left_out + written >= 3000, "{names} {left_out} {written}");
}
