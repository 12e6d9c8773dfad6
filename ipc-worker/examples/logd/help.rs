//! What `--help` prints.

pub(crate) const TEXT: &str = "\
logd - a small syslog daemon whose main process never waits for a disk

Usage: logd --socket PATH --dir DIR [options]
       logd --check DIR    say whether every line in DIR/log, DIR/log.1 and so on is whole

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --user, --group    become these (names or numbers) once socket and DIR are open
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --intake N         bytes of messages that may wait for the disk in memory (default 1048576)
  --when-full WHAT   of disk or intake: wait (then senders wait too; default), drop-oldest (the
                     oldest older file, then messages) or drop-new; the log counts what it lacks
  --follow-symlinks  write through a symbolic link at DIR/log; it is renamed at a rotation
  --kernel           log the kernel's messages too (/dev/kmsg): those since the boot in the first
                     five minutes after it, later only new ones
  --trusted          write pid, uid and gid of each sender, as the kernel knows them
  --pid-file PATH    write the process number there once all is ready
  --ready-fd N       write a line there once all is ready (s6); systemd is told by its socket
  --stop-within S    write what has come for at most S seconds at the end (default 60)
  --stats            print figures on standard output every second, and keep a tick of 1 ms
  --stall MS/PERIOD, --inline   for measurements: stall writes for MS of each PERIOD
                     milliseconds; write in the main process
  --help, --version

SIGTERM, SIGINT: write what has come, and stop. SIGQUIT: stop now, and name what is lost.
SIGHUP: open DIR and DIR/log again.
DIR/running marks a start; it goes at an end with everything written or counted. If one is left by
a kill or a stop that left something, the next start says so on standard error and in the log.
DIR/lock keeps a second daemon off.

A line: time of receipt (UTC), facility.severity, text; the client's time if over 2 s off (one
without a zone: in every zone). \\xNN is a byte that a terminal may obey or that is not UTF-8
(\\x5cx: \\x was sent), \\x[N bytes cut] the end of a message over 16384 bytes.

Exit status: 0 stopped as told, or every line is whole; 1 failed, stopped before everything was
written, or some line is not whole; 2 wrong arguments.
";
