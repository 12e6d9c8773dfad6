# Looks up every message in tinylogd's files, and exits with 1 if one is missing or there twice.
#
# Usage: awk -f count.awk -v sent=N -v kills=N STDERR LOG...
#
# The messages are "line: 1" to "line: N". A message may be missing if standard error names it as
# lost: the one that a worker was writing when it was killed.

FILENAME == ARGV[1] {
    print "stderr: " $0
    if ($0 ~ /lost \([a-z ]+\): line: [0-9]+$/)
        lost[$NF] = 1
    if ($0 ~ /the worker ended: /)
        deaths++
    next
}

# The client's own time is there if it differs from the time of receipt.
/^[0-9TZ:.-]+ user\.notice ([A-Z][a-z][a-z] [ 0-9][0-9] [0-9:]+ )?line: [0-9]+$/ {
    times[$NF]++
    next
}

{ other = other "\n  " $0 }

END {
    for (number = 1; number <= sent; number++) {
        # Plus zero: in busybox, a copy of what is not set does not equal 0.
        count = times[number] + 0
        delete times[number]
        once += count > 0
        named += number in lost
        if (count == 1 || count == 0 && number in lost)
            accounted++
        else if (count == 0)
            missing = missing " " number
        else
            doubled = doubled " " number
    }
    for (number in times)
        unsent = unsent " " number

    print "self-test: " once + 0 " of " sent " lines are in the files, " named + 0 " named lost, " \
        deaths + 0 " workers ended"
    if (missing)
        fault("missing and not named lost:" missing)
    if (doubled)
        fault("more than once in the files:" doubled)
    if (accounted != sent)
        fault(sent - accounted " lines are not accounted for")
    if (unsent)
        fault("in the files but never sent:" unsent)
    if (other)
        fault("not a whole line:" other)
    if (named > kills)
        fault(named " lines named lost; a worker that is killed loses one at most")
    if (deaths != kills)
        fault(deaths + 0 " workers ended and not " kills)
    exit faults > 0
}

function fault(what) {
    print "self-test: failed: " what
    faults++
}
