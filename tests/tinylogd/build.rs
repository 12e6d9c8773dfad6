//! Links the program with nothing but itself.

const ARGS: [&str; 8] = [
    "-nostartfiles",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,--no-eh-frame-hdr",
    "-Wl,-z,noseparate-code",
    "-Wl,-z,norelro",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    for arg in ARGS {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
    // Cargo runs build scripts in the folder of their package, the linker elsewhere.
    let script = std::env::current_dir().map(|folder| folder.join("link.ld"));
    let script = script.unwrap_or_else(|_| "link.ld".into());
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
}
