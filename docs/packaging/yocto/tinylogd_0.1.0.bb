SUMMARY = "Syslog daemon whose main process never waits for a disk"
DESCRIPTION = "A small syslog daemon: static, without a C library."
HOMEPAGE = "https://fill-in.invalid"
# The program contains the crate syscalls, which is BSD-2-Clause.
LICENSE = "(MIT | Apache-2.0) & BSD-2-Clause"
LIC_FILES_CHKSUM = " \
    file://LICENSE-MIT;md5=882e5895c314c4225763b3e66eaaba80 \
    file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
"

SRC_URI = "https://fill-in.invalid/releases/ipc-${PV}.tar.gz"
SRC_URI[sha256sum] = "fill-in"
S = "${UNPACKDIR}/ipc-${PV}"

inherit cargo cargo-update-recipe-crates systemd

# One of three workspaces in the tree, each with its own Cargo.lock.
CARGO_SRC_DIR = "tests/tinylogd"
CARGO_LOCK_SRC_DIR = "${S}/tests/tinylogd"
require ${BPN}-crates.inc

# Rust must not add musl's start code.
RUSTFLAGS:append:libc-musl = " -Ctarget-feature=-crt-static"
# Cargo.toml has it stripped.
INSANE_SKIP:${PN} += "already-stripped"

# It has start code for these, and of 32-bit ARM only for armv7.
COMPATIBLE_HOST = "(x86_64|aarch64|riscv64)-.*-linux(-musl)?$"
COMPATIBLE_HOST:arm = "null"
COMPATIBLE_HOST:armv7a = "arm-.*-linux-(gnueabi|musleabi)$"
COMPATIBLE_HOST:armv7ve = "arm-.*-linux-(gnueabi|musleabi)$"

SYSTEMD_SERVICE:${PN} = "tinylogd.service"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${S}/docs/packaging/systemd/tinylogd.service ${D}${systemd_system_unitdir}
}
