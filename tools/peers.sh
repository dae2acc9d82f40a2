#!/bin/sh
# Install the programs of Debian that tests let write to us: a log daemon, sudo, an ssh server.
# Without them those tests are skipped, and say so. Needs root and apt-get; else does nothing.
set -eu
[ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || exit 0
export DEBIAN_FRONTEND=noninteractive
command -v rsyslogd >/dev/null && command -v sudo >/dev/null && command -v sshd >/dev/null && exit 0
apt-get update -qq >/dev/null 2>&1 || true
apt-get install -y -qq --no-install-recommends rsyslog sudo openssh-server openssh-client >/dev/null
