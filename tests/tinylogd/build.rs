//! Links each program without any library.

/// The linker's arguments.
const ARGS: [&str; 6] = [
    "-static",
    "-no-pie",
    "--build-id=none",
    "--no-eh-frame-hdr",
    "-znoseparate-code",
    "-znorelro",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
    // Cargo runs build scripts in their package's folder, but the linker elsewhere.
    let script = std::env::current_dir().map(|folder| folder.join("link.ld"));
    let script = format!("-T{}", script.unwrap_or_else(|_| "link.ld".into()).display());
    // A C compiler needs a prefix before linker options, and would add the C library.
    let is_linker = std::env::var("RUSTC_LINKER").is_ok_and(|name| name.ends_with("lld"));
    if std::env::var_os("CARGO_FEATURE_MUSL").is_some() {
        return;
    }
    if !is_linker {
        println!("cargo::rustc-link-arg=-nostdlib");
    }
    for arg in ARGS.into_iter().chain([&*script]) {
        let is_compilers_too = matches!(arg, "-static" | "-no-pie") || arg.starts_with("-T");
        let prefix = if is_linker || is_compilers_too { "" } else { "-Wl," };
        println!("cargo::rustc-link-arg={prefix}{arg}");
    }
}
