//! What `--help` prints.

pub(crate) const TEXT: &[u8] = b"\
tinylogd - logd without a C library: a syslog daemon whose main process never waits for a disk

Usage: tinylogd --socket PATH --dir DIR [options]

  --socket PATH      receive datagrams here, in RFC 3164 or RFC 5424 form
  --dir DIR          append to DIR/log; older files are DIR/log.1, DIR/log.2 and so on
  --mode OCTAL       permissions of the socket (default 666)
  --user, --group    become these (numbers) once socket and DIR are open
  --rotate-bytes N   begin a new file before DIR/log grows over N bytes (default 10485760)
  --keep N           keep N older files (default 4)
  --intake N         bytes of messages that may wait for the disk in memory (default 32768)
  --when-full WHAT   wait (default), drop-oldest or drop-new
  --follow-symlinks  write through a symbolic link at DIR/log
  --trusted          write pid, uid and gid of each sender
  --kernel           log the kernel's messages too (/dev/kmsg)
  --pid-file PATH    write the process number there once all is ready
  --ready-fd N       write a line there once all is ready (s6); systemd is told by its socket
  --stop-within S    write what has come for at most S seconds at the end (default 60)
  --help, --version

SIGTERM, SIGINT: write what has come, and stop. SIGQUIT: stop now. SIGHUP: open the log again.
Messages over 4096 bytes are cut. The README of logd tells more.

Exit status: 0 stopped as told; 1 failed, or something was not written; 2 wrong arguments.
";
