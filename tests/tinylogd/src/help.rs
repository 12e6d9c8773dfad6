//! The text that `--help` prints.

pub(crate) const TEXT: &[u8] = b"\
tinylogd - logd without a C library: a syslog daemon whose main process never waits for a disk

Usage: tinylogd --socket PATH --dir DIR [options]

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --user, --group    become these (numbers) once socket and DIR are open
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --intake N         bytes of memory for messages that wait for the disk (default 32768)
  --when-full WHAT   wait (default), drop-oldest or drop-new
  --follow-symlinks  write to the file that a symbolic link at DIR/log points to
  --trusted          write each sender's pid, uid and gid
  --kernel           log the kernel's messages too (/dev/kmsg)
  --pid-file PATH    write the process id there once ready
  --ready-fd N       write a line there once ready (s6); systemd is notified by its socket
  --stop-within S    at the end, write pending messages for at most S seconds (default 60)
  --help, --version

SIGTERM, SIGINT: write pending messages and stop. SIGQUIT: stop now. SIGHUP: reopen the log.
Messages over 4096 bytes are truncated. For more, see the README of logd.

Exit status: 0 stopped on request; 1 failed, or messages were not written; 2 wrong arguments.
";
