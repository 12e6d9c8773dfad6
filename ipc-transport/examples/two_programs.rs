//! Two programs that connect at a path. The client opens a file, and the server counts a word in
//! it.
//!
//! `two_programs PATH` is the server, `two_programs PATH WORD FILE` the client.

use std::env::args;
use std::error::Error;
use std::fs::File;
use std::io::read_to_string;
use std::os::fd::AsFd;
use std::time::Duration;

use ipc_frame::{Header, Postcard};
use ipc_transport::{Connection, Hello, Instant, Listener, Stream, connect};

/// The hello of both programs. A frame to either of them may have one descriptor.
const HELLO: Hello = Hello::new("count", 1).fds(1);
type Word<'a> = Postcard<&'a str>;
type Count = Postcard<u64>;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

fn ask(path: &str, word: &str, file: &str) -> Result<(), Box<dyn Error>> {
    let stream: Stream = connect(path)?.ok_or("the server is busy")?;
    let mut server = Connection::<_, 4096>::new(stream, HELLO);
    let file = File::open(file)?;
    server.send_until(Header::request(1, 1), &Postcard(word), &[file.as_fd()], soon())?;
    let (_, reply) = server.receive_until(soon())?;
    let Postcard(count): Count = reply.message()?;
    println!("{count}");
    Ok(())
}

fn answer(client: &mut Connection<Stream>) -> Result<(), Box<dyn Error>> {
    let (header, mut request) = client.receive_until(soon())?;
    let file = File::from(request.fds.take_first().ok_or("no file came")?);
    let Postcard(word): Word<'_> = request.message()?;
    let count: Count = Postcard(read_to_string(file)?.matches(word).count().try_into()?);
    Ok(client.send_until(Header::reply(header.id()), &count, &[], soon())?)
}

fn serve(path: &str) -> Result<(), Box<dyn Error>> {
    let mut listener = Listener::<Stream>::bind(path, 0o600)?;
    while let Some(stream) = listener.accept_until(Instant::NEVER)? {
        let mut client = Connection::new(stream, HELLO);
        // Until the client ends, is silent for 5 s or breaks the protocol.
        while answer(&mut client).inspect_err(|error| println!("{error}")).is_ok() {}
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match &args().skip(1).collect::<Vec<_>>()[..] {
        [path] => serve(path),
        [path, word, file] => ask(path, word, file),
        _ => Err("usage: two_programs PATH [WORD FILE]".into()),
    }
}
