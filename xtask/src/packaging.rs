//! The files of `docs/packaging`, compared with the package that they describe.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::Failure,
    steps::{self, Step},
    tools::output,
    workspace::Workspace,
};

const FOLDER: &str = "docs/packaging";
/// The package that they build.
pub(crate) const SUBDIR: &str = "tests/tinylogd";
/// Where they install the program.
const PROGRAM: &str = "/usr/bin/tinylogd";
const UNIT: &str = "systemd/tinylogd.service";
const LICENCES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// Returns the steps that check the files without building anything.
pub(crate) fn steps(workspace: &Workspace) -> [Step; 3] {
    let has = |tool| output(&mut workspace.command(tool, &["--version"])).is_some();
    let tool = |name, tool, function: fn(&Workspace) -> Result<(), Failure>, why| {
        if has(tool) { Step::call(name, function) } else { Step::skip(name, why) }
    };
    [
        Step::call("packaging", check),
        tool(
            "packaging, scripts",
            "shellcheck",
            shellcheck,
            "shellcheck of docs/packaging (install with: apt install shellcheck)",
        ),
        tool(
            "packaging, systemd",
            "systemd-analyze",
            verify,
            "verifying docs/packaging's unit (install with: apt install systemd)",
        ),
    ]
}

/// A file of the folder, by its path there.
pub(crate) struct Text {
    pub(crate) name: String,
    content: String,
}

impl Text {
    /// Reads all of them.
    pub(crate) fn all(workspace: &Workspace) -> Result<Vec<Self>, Failure> {
        let root = workspace.root().join(FOLDER);
        let mut texts = Vec::new();
        for path in files(&root)? {
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let content = fs::read_to_string(&path);
            let content = content.map_err(Failure::of(&format!("read {FOLDER}/{name}")))?;
            texts.push(Self { name, content });
        }
        Ok(texts)
    }

    fn is_script(&self) -> bool {
        self.content.starts_with("#!")
    }

    /// Returns whether it starts the daemon.
    pub(crate) fn is_service(&self) -> bool {
        self.is_script() || self.name == UNIT
    }

    /// Returns the environment variables that it sets for cargo.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        let words = self.content.split_whitespace().filter_map(|word| word.split_once('='));
        words.filter(|(key, _)| key.starts_with("CARGO_PROFILE_") || *key == "RUSTFLAGS")
    }

    /// Returns the daemon's arguments: from `--socket` to the end of the line or of the quotes.
    pub(crate) fn arguments(&self) -> Option<Vec<String>> {
        let joined = self.content.replace("\\\n", " ");
        let line = joined.lines().find(|line| !is_comment(line) && line.contains("--socket"))?;
        let (_, rest) = line.split_once("--socket")?;
        let rest = rest.split(['"', '}']).next().unwrap_or(rest);
        let words = rest.split_whitespace().map(str::to_owned);
        Some(["--socket".to_owned()].into_iter().chain(words).collect())
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = || format!("read {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(Failure::of(&failed()))? {
        let path = entry.map_err(Failure::of(&failed()))?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// Compares the files with the package, and lets the shell check the scripts.
fn check(workspace: &Workspace) -> Result<(), Failure> {
    let texts = Text::all(workspace)?;
    let mut faults = Vec::new();
    let expected = expected(workspace)?;
    for (name, line) in &expected {
        let text = texts.iter().find(|text| text.name == *name);
        if !text.is_some_and(|text| text.content.contains(line)) {
            faults.push(format!("{FOLDER}/{name} lacks: {}", line.trim()));
        }
    }
    for text in &texts {
        let extra = text.content.lines().filter(|line| {
            let mut expected = expected.iter();
            line.contains("crate://") && !expected.any(|(_, each)| each.trim() == line.trim())
        });
        faults.extend(extra.map(|line| format!("{FOLDER}/{}: not locked: {line}", text.name)));
        let missing = paths(&text.content).filter(|path| !workspace.root().join(path).exists());
        faults.extend(missing.map(|path| format!("{FOLDER}/{}: there is no {path}", text.name)));
        if text.is_service() && !text.content.contains(&format!("{PROGRAM} ")) {
            let is_command = text.content.contains(&format!("command={PROGRAM}\n"));
            faults.extend((!is_command).then(|| format!("{}: no {PROGRAM}", text.name)));
        }
        if text.is_script() {
            let path = format!("{FOLDER}/{}", text.name);
            let read = steps::run_command(&mut workspace.command("sh", &["-n", &path]));
            faults.extend(read.err().map(|failure| failure.to_string()));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::Failed(faults.join("\n"))) }
}

/// Returns the strings from the package's own files, each with the file that must contain it.
fn expected(workspace: &Workspace) -> Result<Vec<(String, String)>, Failure> {
    let read = |name: &str| {
        let path = workspace.root().join(SUBDIR).join(name);
        fs::read_to_string(&path).map_err(Failure::of(&format!("read {}", path.display())))
    };
    let (manifest, lock) = (read("Cargo.toml")?, read("Cargo.lock")?);
    let get = |key| {
        let value = field(&manifest, key).map(str::to_owned);
        value.ok_or_else(|| Failure::Failed(format!("{SUBDIR}/Cargo.toml has no {key}")))
    };
    let (version, licence) = (get("version")?, get("license")?);
    let fd = workspace.root().join(FOLDER).join("s6/tinylogd/notification-fd");
    let fd = fs::read_to_string(fd).map_err(Failure::of("read s6's notification-fd"))?;
    let recipe = format!("yocto/tinylogd_{version}.bb");
    let mut all = Vec::new();
    let mut add = |name: &str, line: String| all.push((name.to_owned(), line));

    let mk = "buildroot/tinylogd/tinylogd.mk";
    add(mk, format!("TINYLOGD_VERSION = {version}\n"));
    add(mk, format!("TINYLOGD_SUBDIR = {SUBDIR}\n"));
    add(mk, format!("TINYLOGD_LICENSE = {},", licence.replace(" OR ", " or ")));
    let makefile = "openwrt/tinylogd/Makefile";
    add(makefile, format!("PKG_VERSION:={version}\n"));
    add(makefile, format!("PKG_LICENSE:=({licence}) "));
    add(makefile, format!("$(call Build/Compile/Cargo,{SUBDIR})\n"));
    add(&recipe, format!("LICENSE = \"({})", licence.replace(" OR ", " | ")));
    add(&recipe, format!("CARGO_SRC_DIR = \"{SUBDIR}\"\n"));
    add(&recipe, format!("CARGO_LOCK_SRC_DIR = \"${{S}}/{SUBDIR}\"\n"));
    let hashes = "buildroot/tinylogd/tinylogd.hash";
    add(hashes, format!("ipc-{version}.tar.gz\n"));
    add("s6/tinylogd/run", format!("--ready-fd {fd}"));
    for file in LICENCES {
        let [sha, md] = ["sha256sum", "md5sum"].map(|tool| digest(workspace, tool, file));
        add(hashes, format!("sha256  {}  {file}\n", sha?));
        add(&recipe, format!("file://{file};md5={} ", md?));
        add(mk, file.to_owned());
        add(makefile, file.to_owned());
    }
    for (name, version, checksum) in crates(&lock) {
        let file = "yocto/tinylogd-crates.inc";
        add(file, format!("crate://crates.io/{name}/{version};name={name}-{version} \\\n"));
        add(file, format!("SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"\n"));
    }
    Ok(all)
}

/// Returns the value of the first line `key = "value"`.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
    text.lines().find_map(value)
}

/// Returns name, version and checksum of each downloaded package in a Cargo.lock.
fn crates(lock: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let packages = lock.split("[[package]]\n");
    packages.filter_map(|package| {
        let get = |key| field(package, key);
        Some((get("name")?, get("version")?, get("checksum")?))
    })
}

fn digest(workspace: &Workspace, tool: &str, file: &str) -> Result<String, Failure> {
    let said = output(&mut workspace.command(tool, &[file])).unwrap_or_default();
    let digest = said.split_whitespace().next().map(str::to_owned);
    digest.ok_or_else(|| Failure::Failed(format!("`{tool} {file}` failed")))
}

/// Returns the project's paths that a text mentions.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |char: char| char.is_ascii_alphanumeric() || "/._-".contains(char);
    text.split(move |char| !is_path(char))
        .map(|word| word.trim_start_matches('/').trim_end_matches(['.', '/']))
        .filter(|word| {
            ["tests/", "docs/", "ipc-worker/", "LICENSE-"].iter().any(|at| word.starts_with(at))
        })
}

fn shellcheck(workspace: &Workspace) -> Result<(), Failure> {
    let mut command = workspace.command("shellcheck", &[]);
    let texts = Text::all(workspace)?;
    let scripts = texts.iter().filter(|text| text.is_script());
    command.args(scripts.map(|text| format!("{FOLDER}/{}", text.name)));
    steps::run_command(&mut command)
}

/// Lets systemd verify the unit, with a program that is installed.
fn verify(workspace: &Workspace) -> Result<(), Failure> {
    let path = workspace.root().join(FOLDER).join(UNIT);
    let unit = fs::read_to_string(&path).map_err(Failure::of("read the unit"))?;
    let folder = tempfile::tempdir().map_err(Failure::of("make a temporary folder"))?;
    let copy = folder.path().join("tinylogd.service");
    fs::write(&copy, unit.replace(PROGRAM, "/bin/sh")).map_err(Failure::of("copy the unit"))?;
    let mut command = workspace.command("systemd-analyze", &["verify", "--man=no"]);
    command.arg(&copy);
    println!("$ systemd-analyze verify {}", path.display());
    let said = command.output().map_err(Failure::of("run systemd-analyze"))?;
    let words = String::from_utf8_lossy(&said.stderr);
    // It only warns about unknown settings, and also about other units.
    if said.status.success() && !words.contains("tinylogd.service") {
        return Ok(());
    }
    Err(Failure::Failed(format!("systemd-analyze ended with {}:\n{words}", said.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Text {
        Text { name: "run".into(), content: content.into() }
    }

    #[test]
    fn arguments_are_found_in_each_kind_of_text() {
        let expected: Option<Vec<String>> =
            Some(["--socket", "/dev/log", "--dir", "/d"].map(str::to_owned).into());
        for line in [
            "#!/bin/sh\n# no --socket here\nexec /usr/bin/tinylogd --socket /dev/log --dir /d\n",
            "ARGS=\"--socket /dev/log --dir /d\"\n",
            ": \"${command_args:=--socket /dev/log --dir /d}\"\n",
            "procd_set_param command /usr/bin/tinylogd \\\n\t--socket /dev/log --dir /d\n",
        ] {
            assert_eq!(text(line).arguments(), expected, "{line}");
        }
        assert_eq!(text("#!/bin/sh\n").arguments(), None);
    }

    #[test]
    fn paths_are_found_behind_variables_and_in_sentences() {
        let text =
            "$(@D)/docs/a.b \"${S}/tests/x\" Cargo,tests/y) LICENSE-MIT;md5=1 tests/z/. ipc-1";
        let found: Vec<&str> = paths(text).collect();
        assert_eq!(found, ["docs/a.b", "tests/x", "tests/y", "LICENSE-MIT", "tests/z"]);
    }

    #[test]
    fn crates_of_a_lock_are_those_with_a_checksum() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"2.0.0\"\nchecksum = \"c0\"\n";
        assert_eq!(crates(lock).collect::<Vec<_>>(), [("b", "2.0.0", "c0")]);
    }
}
