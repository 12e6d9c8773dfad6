//! `cargo xtask ci`: all checks that a change must pass.

use crate::{
    api, around, bench,
    failure::Failure,
    fuzz, layers, lines, loom, mutants, package, prose, size,
    steps::{self, Step},
    test, tinylogd,
    tools::{self, output},
    workspace::Workspace,
};

const HELP: &str = "\
Runs all checks that a change must pass: format, lints, lines of code, files that import each other,
phrases to avoid, tests, the quick tests again in most environments of `cargo xtask around`, docs,
public API, packages, fewer features, bare metal, builds of the models and the fuzz targets, a few
mutants, the oldest supported Rust, licences and spelling. A failed step does not stop the others. A
step whose tool is missing is skipped; the end of the output lists these steps and how to install
the tools.

Usage: cargo xtask ci

Options:
  -h, --help    print this help

Exit codes: 0 no step failed, 1 a step failed, 2 wrong arguments";

const BARE_METAL: &str = "x86_64-unknown-none";

/// Runs the verb.
pub(crate) fn run(args: lexopt::Parser) -> Result<(), Failure> {
    steps::verb(args, HELP, plan)
}

fn plan(workspace: &Workspace) -> Vec<Step> {
    let mut steps = lints(workspace);
    steps.push(Step::call("lines", lines::check));
    steps.push(Step::call("layers", layers::check));
    steps.push(Step::call("prose", prose::check));
    steps.extend(test::steps(workspace));
    steps.extend(around::steps(workspace, around::Suites::Quick, around::is_usual));
    steps.push(size::step(workspace));
    steps.push(docs(workspace));
    steps.push(api::step(workspace));
    steps.extend(package::steps(workspace));
    steps.extend(fewer_features(workspace));
    steps.extend(bare_metal(workspace));
    steps.push(loom::check());
    steps.push(fuzz::check(workspace));
    steps.push(mutants::fast_step(workspace));
    steps.push(oldest_rust(workspace));
    steps.push(licences(workspace));
    steps.push(spelling(workspace));
    steps
}

fn lints(workspace: &Workspace) -> Vec<Step> {
    let mut tiny_clippy = tinylogd::cargo(workspace, &["clippy", "--locked", "--release"]);
    tiny_clippy.args(["--bins", "--examples", "--", "-D", "warnings"]);
    let format_of = |manifest| workspace.cargo(&["fmt", "--check", "--manifest-path", manifest]);
    vec![
        format(workspace),
        Step::command("format tests/tinylogd", tinylogd::cargo(workspace, &["fmt", "--check"])),
        Step::command("format ipc-frame/fuzz", format_of("ipc-frame/fuzz/Cargo.toml")),
        // Built by `cargo xtask bench --peers` only.
        Step::command("format tests/peers", format_of(bench::PEERS)),
        clippy(workspace),
        Step::command("clippy tests/tinylogd", tiny_clippy),
    ]
}

/// Returns the step that checks the format of the workspace.
pub(crate) fn format(workspace: &Workspace) -> Step {
    Step::command("format", workspace.cargo(&["fmt", "--all", "--check"]))
}

/// Returns the step that runs clippy over the workspace.
pub(crate) fn clippy(workspace: &Workspace) -> Step {
    let mut clippy = workspace.cargo(&["clippy", "--locked", "--workspace", "--all-targets"]);
    clippy.args(["--all-features", "--", "-D", "warnings"]);
    Step::command("clippy", clippy)
}

fn docs(workspace: &Workspace) -> Step {
    let mut doc =
        workspace.cargo(&["doc", "--locked", "--workspace", "--all-features", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    Step::command("docs", doc)
}

/// One command per crate, since cargo unifies the features of crates that are built together.
fn fewer_features(workspace: &Workspace) -> [Step; 8] {
    let check = |package| {
        workspace.cargo(&["check", "--locked", "--no-default-features", "--package", package])
    };
    let unit_tests = |package, features| {
        let mut test = workspace.cargo(&["test", "--locked", "--lib", "--no-default-features"]);
        test.args(["--package", package, "--features", features]);
        test
    };
    let alone = |feature| {
        let mut alone = check("ipc-worker");
        alone.args(["--features", feature]);
        alone
    };
    [
        Step::command("ipc-barrier, no features", check("ipc-barrier")),
        Step::command("ipc-worker, no features", check("ipc-worker")),
        Step::command("ipc-worker, postcard alone", alone("postcard")),
        Step::command("ipc-worker, log alone", alone("log")),
        Step::command("ipc-worker, ring alone", alone("ring")),
        Step::command("ipc-transport, no std", unit_tests("ipc-transport", "socket")),
        Step::command("ipc-barrier, no std", unit_tests("ipc-barrier", "libc")),
        Step::command("ipc-worker, no std", unit_tests("ipc-worker", "ring")),
    ]
}

fn bare_metal(workspace: &Workspace) -> Vec<Step> {
    if !tools::has_target(workspace, BARE_METAL) {
        let why = "bare-metal build (install with: rustup target add x86_64-unknown-none)";
        return vec![Step::skip("bare metal", why)];
    }
    let build = |args: &[&str]| {
        let mut build = workspace.cargo(&["build", "--locked", "--no-default-features"]);
        build.args(["--target", BARE_METAL]).args(args);
        build
    };
    vec![
        Step::command("bare metal", build(&["-p", "ipc-frame", "-p", "ipc-transport"])),
        Step::command("bare metal, postcard", build(&["-p", "ipc-frame", "-F", "postcard"])),
    ]
}

fn oldest_rust(workspace: &Workspace) -> Step {
    const NAME: &str = "Rust 1.87";
    let Some(toolchain) = tools::oldest_rust(workspace) else {
        let why = "Rust 1.87 check (install with: rustup toolchain install 1.87)";
        return Step::skip(NAME, why);
    };
    let check = ["run", &toolchain, "cargo", "check", "--locked", "--workspace", "--all-features"];
    Step::command(NAME, workspace.command("rustup", &check))
}

fn licences(workspace: &Workspace) -> Step {
    const NAME: &str = "licences";
    if output(&mut workspace.command("cargo-deny", &["--version"])).is_none() {
        return Step::skip(NAME, "cargo deny (install with: cargo install --locked cargo-deny)");
    }
    Step::command(NAME, workspace.cargo(&["deny", "check"]))
}

fn spelling(workspace: &Workspace) -> Step {
    const NAME: &str = "spelling";
    if output(&mut workspace.command("typos", &["--version"])).is_none() {
        return Step::skip(NAME, "typos (install with: cargo install --locked typos-cli)");
    }
    Step::command(NAME, workspace.command("typos", &[]))
}
