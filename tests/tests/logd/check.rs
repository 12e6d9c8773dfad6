//! `logd --check`.

use crate::daemon::check_command;
use crate::home::Home;
use std::fs;

const GOOD: &str = "2001-02-03T04:05:06.000007Z user.info app: gr\u{f6}\u{df}er\t\\x07\n";

/// Checks the home's directory. Returns the status, standard output and standard error.
pub(crate) fn check(home: &Home) -> (Option<i32>, String, String) {
    let output = check_command(home, &["logs"]).output().unwrap();
    let [printed, said] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    (output.status.code(), printed, said)
}

pub(crate) fn check_names_each_line_that_is_not_whole() {
    let home = Home::new();
    fs::write(home.log(0), GOOD.repeat(2)).unwrap();
    assert_eq!(check(&home), (Some(0), "logs/log: 2 lines, 2 whole\n".into(), String::new()));
    let long = format!("{}{}\n", &GOOD[..40], "l".repeat(100_000));
    for (wrong, why) in [
        (&b"2001-02-03T04:05:06.000007Z user.info ha"[..], "no end after 40 bytes"),
        (b"2001-02-03T04:05:06.000007Z x\x07y\n", "U+0007 at byte 29"),
        (b"2001-02-03T04:05:06.000007Z x\0\n", "U+0000 at byte 29"),
        ("2001-02-03T04:05:06.000007Z x\u{85}\n".as_bytes(), "U+0085 at byte 29"),
        ("2001-02-03T04:05:06.000007Z x\u{202e}\n".as_bytes(), "U+202E at byte 29"),
        (b"2001-02-03T04:05:06.000007Z x\r\n", "U+000D at byte 29"),
        (
            b"2001-02-03T04:05:06.000007Z \xff\n",
            "not UTF-8: invalid utf-8 sequence of 1 bytes from index 28",
        ),
        (b"2001-02-03T04:05:06.00007Z user.info x\n", "no time at the start"),
        (b"2001-02-33T04:05:06.000007Z user.info x\n", "no time at the start"),
        (b" 2001-02-03T04:05:06.000007Z user.info x\n", "no time at the start"),
        (b"\n", "no time at the start"),
        (b"2001-02-03T05:05:06.00007+01:00 user.info x\n", "no time at the start"),
        (b"2001-02-03T04:05:06.000007Z \n", "no facility and severity after the time"),
        (b"2001-02-03T04:05:06.000007Z user.inf x\n", "no facility and severity after the time"),
        (
            b"2001-02-03T04:05:06.000007Z user.not2001-02-03T04:05:06.000007Z user.info x\n",
            "no facility and severity after the time",
        ),
        (long.as_bytes(), &format!("{} bytes, over ", long.len())),
    ] {
        fs::write(home.log(1), [GOOD.as_bytes(), wrong].concat()).unwrap();
        let (status, printed, said) = check(&home);
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(status, Some(1), "{printed}");
        assert!(lines[0].starts_with(&format!("logs/log.1:2: {why}")), "{printed}");
        assert_eq!(lines[1..], ["logs/log.1: 2 lines, 1 whole", "logs/log: 2 lines, 2 whole"]);
        assert_eq!(said, "");
    }
}

pub(crate) fn check_reads_files_of_any_size_and_kind() {
    let home = Home::new();
    // Not our files, or not logs.
    for name in ["log.gz", "log.1.gz", "log.01", "log.0", "logs", "log.", "log.-1"] {
        fs::write(home.dir().join(name), "x").unwrap();
    }
    fs::write(home.log(0), "").unwrap();
    fs::write(home.log(2), GOOD.repeat(10_000)).unwrap();
    fs::write(home.log(10), "bad\n".repeat(1_000)).unwrap();
    // One second back is a clock adjustment. Two seconds are reported, but are not a fault.
    let times =
        ["07", "06", "04", "03", "59"].map(|second| GOOD.replace(":06.", &format!(":{second}.")));
    fs::write(home.log(1), times.concat()).unwrap();
    let (status, printed, said) = check(&home);
    assert_eq!((status, said.as_str()), (Some(1), ""));
    let lines: Vec<&str> = printed.lines().collect();
    let bad: Vec<String> =
        (1..=10).map(|line| format!("logs/log.10:{line}: no time at the start")).collect();
    assert_eq!(lines[..10], bad);
    assert_eq!(
        lines[10..],
        [
            "logs/log.10: 1000 lines, 0 whole",
            "logs/log.2: 10000 lines, 10000 whole",
            "logs/log.1:3: note: 2 s earlier than the line before",
            "logs/log.1: 5 lines, 5 whole",
            "logs/log: 0 lines, 0 whole",
        ]
    );
    fs::remove_file(home.log(10)).unwrap();
    assert_eq!(check(&home).0, Some(0));
    // A huge line without an end, and things that are not files.
    fs::File::create(home.log(3)).unwrap().set_len(300 << 20).unwrap();
    fs::create_dir(home.log(4)).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, home.log(5), rustix::fs::Mode::RWXU).unwrap();
    std::os::unix::fs::symlink("nowhere", home.log(6)).unwrap();
    let (status, printed, _) = check(&home);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(status, Some(1));
    assert!(lines[0].starts_with("logs/log.6: No such file"), "{printed}");
    assert_eq!(lines[1..3], ["logs/log.5: not a regular file", "logs/log.4: not a regular file"]);
    assert!(lines[3].starts_with("logs/log.3:1: 314572800 bytes, over "), "{printed}");
}

pub(crate) fn a_directory_without_a_log_is_an_error() {
    let home = Home::new();
    assert_eq!(
        check(&home),
        (Some(1), String::new(), "logd: --check logs: it has no log\n".into())
    );
    fs::remove_dir(home.dir()).unwrap();
    let (status, printed, said) = check(&home);
    assert_eq!((status, printed.as_str()), (Some(1), ""));
    assert!(said.starts_with("logd: --check logs: No such file"), "{said}");
    let status = check_command(&home, &[]).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
