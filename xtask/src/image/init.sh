#!/bin/busybox sh
# The first program of the image that `cargo xtask image` builds. It tests tinylogd and reboots:
# 1,000 numbered messages go to /dev/log, the worker is killed twice on the way, SIGTERM stops the
# daemon, and every message is looked up in the files. The host reads the lines that begin with
# "self-test: ", one of which is the verdict.

SENT=1000
KILLS=2
SECONDS_AT_MOST=120
DIR=/run/log
STDERR=/run/stderr

say() {
    echo "self-test: $*"
}

# Prints the verdict and ends the machine.
fail() {
    [ -s "$STDERR" ] && sed 's/^/stderr: /' "$STDERR"
    say "failed: $*"
    reboot -f
}

# Hands the lines from number $1 to $2 to the daemon. logger waits while the socket is full.
send() {
    seq "$1" "$2" | logger -t line
}

# Counts the lines in the files so far.
written() {
    cat "$DIR"/log* 2>/dev/null | grep -c ' line: '
}

# Prints the process id of main's child, unless it is dead.
find_worker() {
    cat /proc/[0-9]*/status 2>/dev/null | awk -v main="$main" '
        /^State:/ { state = $2 }
        /^Pid:/ { pid = $2 }
        /^PPid:/ && $2 == main && state != "Z" { print pid }'
}

# Waits for a worker other than the last one.
await_worker() {
    until worker=$(find_worker) && [ -n "$worker" ] && [ "$worker" != "$killed" ]; do
        usleep 5000
    done
}

# Sends 220 lines from number $1 on and kills the worker on the way. It is stopped while it writes
# the first 200 of them, so that the other 20 wait for it when it dies.
kill_worker() {
    await_worker
    before=$(written)
    send "$1" $(($1 + 199)) &
    sender=$!
    until [ "$(written)" -ge $((before + 20)) ]; do
        usleep 5000
    done
    kill -STOP "$worker"
    send $(($1 + 200)) $(($1 + 219))
    count=$(written)
    [ "$count" -lt $(($1 + 219)) ] || fail "the worker had nothing left to write when it was killed"
    say "killing the worker with $count of $(($1 + 219)) lines in the files"
    kill -KILL "$worker"
    killed=$worker
    wait "$sender"
}

# Prints how much of the process is resident.
resident() {
    awk '/^VmRSS:/ { print $2, "KiB" }' "/proc/$1/status"
}

say "init runs"
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /run
/bin/busybox --install -s /bin
mkdir "$DIR"

# The deadline of every wait below.
(
    sleep "$SECONDS_AT_MOST"
    fail "not done after $SECONDS_AT_MOST s"
) &

mkfifo /run/ready
tinylogd --socket /dev/log --dir "$DIR" --rotate-bytes 16384 --keep 99 --ready-fd 3 \
    3>/run/ready 2>"$STDERR" &
main=$!
read -r _ </run/ready || fail "tinylogd did not start"
say "tinylogd is ready"

kill_worker 1
send 221 400
kill_worker 401
await_worker
say "resident: main $(resident "$main"), worker $(resident "$worker")"
send 621 "$SENT"

kill -TERM "$main"
wait "$main"
status=$?
[ "$status" -eq 0 ] || fail "tinylogd ended with $status after SIGTERM"

# Looks up every line in the files.
count() {
    awk -f /count.awk -v sent="$SENT" -v kills="$KILLS" "$STDERR" "$@"
}

# First see the count fail: awk differs between versions of busybox.
grep -hv " line: $SENT\$" "$DIR"/log* >/run/incomplete
count /run/incomplete >/dev/null && fail "the count does not notice that line $SENT is missing"
count "$DIR"/log* && say "passed"
reboot -f
