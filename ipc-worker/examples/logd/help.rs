//! What `--help` prints.

pub(crate) const TEXT: &str = "\
logd - a small syslog daemon whose main process never waits for a disk

Usage: logd --socket PATH --dir DIR [options]
       logd --check DIR    check that every line in DIR/log, DIR/log.1 and so on is whole

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --user, --group    switch to these (names or numbers) once socket and DIR are open
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --intake N         bytes of memory for messages that wait for the disk (default 1048576)
  --when-full WHAT   if disk or intake is full: wait (senders wait too; default), drop-oldest
                     (the oldest file, then messages) or drop-new; the log counts what is missing
  --follow-symlinks  write through a symbolic link at DIR/log; a rotation renames the link
  --kernel           also log the kernel's messages (/dev/kmsg): all since boot if started within
                     five minutes of it, otherwise only new ones
  --trusted          write pid, uid and gid of each sender, as reported by the kernel
  --pid-file PATH    write the pid to PATH when ready
  --ready-fd N       write a line to descriptor N when ready (s6); systemd needs no option
  --stop-within S    when stopping, write received messages for at most S seconds (default 60)
  --stats            print statistics on standard output every second, and keep a tick of 1 ms
  --stall MS/PERIOD  for measurements: stall writes for MS of each PERIOD milliseconds
  --inline           for measurements: write in the main process
  --help, --version

SIGTERM, SIGINT: write received messages, then stop. SIGQUIT: stop now, and name what is lost.
SIGHUP: reopen DIR and DIR/log.
DIR/running marks a running daemon. It is removed when everything is written or counted. If a kill
or an early stop has left it, the next start reports that on standard error and in the log.
DIR/lock keeps out a second daemon.

A line has time of receipt (UTC), facility.severity and text, and the client's time if over 2 s off
(one without a zone: in every zone). \\xNN is a byte that a terminal may obey or that is not UTF-8
(\\x5cx: \\x was sent). \\x[N bytes cut] ends a message over 16384 bytes.

Exit status: 0 stopped as requested, or every line is whole; 1 failed, stopped before everything
was written, or some line is not whole; 2 wrong arguments.
";
