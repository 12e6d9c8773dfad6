################################################################################
#
# tinylogd
#
################################################################################

TINYLOGD_VERSION = 0.1.0
TINYLOGD_SOURCE = ipc-$(TINYLOGD_VERSION).tar.gz
TINYLOGD_SITE = https://fill-in.invalid/releases
TINYLOGD_LICENSE = MIT or Apache-2.0, BSD-2-Clause (crate syscalls)
TINYLOGD_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE
TINYLOGD_SUBDIR = tests/tinylogd

# The profile that is tested, instead of Buildroot's. And Rust must not add
# musl's start code.
TINYLOGD_CARGO_ENV = \
	CARGO_PROFILE_DEV_OPT_LEVEL=z \
	CARGO_PROFILE_DEV_LTO=true \
	CARGO_PROFILE_DEV_CODEGEN_UNITS=1 \
	CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
	CARGO_PROFILE_RELEASE_LTO=true \
	CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1 \
	RUSTFLAGS=-Ctarget-feature=-crt-static

define TINYLOGD_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(TINYLOGD_PKGDIR)/S01tinylogd \
		$(TARGET_DIR)/etc/init.d/S01tinylogd
endef

define TINYLOGD_INSTALL_INIT_OPENRC
	$(INSTALL) -D -m 0755 $(@D)/docs/packaging/openrc/tinylogd \
		$(TARGET_DIR)/etc/init.d/tinylogd
endef

define TINYLOGD_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/docs/packaging/systemd/tinylogd.service \
		$(TARGET_DIR)/usr/lib/systemd/system/tinylogd.service
endef

$(eval $(cargo-package))
