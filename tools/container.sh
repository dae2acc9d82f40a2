#!/bin/sh
# Build and run the image of Containerfile where no registry of images can be reached. What it is built
# upon is made of Debian's packages and given the name that FROM asks for, in a store of its own
# (build/container), so that nothing else on this machine takes it for the real one.
#
#   tools/container.sh build                      as root; needs buildah and mmdebstrap
#   tools/container.sh podman run … trailhound    needs podman, and runc or crun
#   tools/container.sh clean
set -eu
cd "$(dirname "$0")/.."
FOLDER=$PWD/build/container
BASE=$(sed -n 's/^FROM \(.*\) AS build$/\1/p' Containerfile)

fail() {
  echo "$*" >&2
  exit 1
}

stored() {
  tool=$1
  shift
  "$tool" --root "$FOLDER/store" --runroot "$FOLDER/run" --storage-driver overlay "$@"
}

base() {
  # The official image has its Python in /usr/local/bin, and lets pip write to it.
  mmdebstrap --quiet --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates \
    --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
    --customize-hook='ln -s /usr/bin/python3 "$1/usr/local/bin/python"' \
    "${BASE##*-}" "$FOLDER/base.tar"
  container=$(stored buildah from scratch)
  stored buildah add --quiet "$container" "$FOLDER/base.tar" / >/dev/null
  stored buildah config --env PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin \
    "$container"
  stored buildah commit --quiet --rm "$container" "$BASE" >/dev/null
  rm "$FOLDER/base.tar"
}

build() {
  [ "$(id -u)" -eq 0 ] || fail 'container.sh build has to run as root'
  for tool in buildah mmdebstrap; do
    command -v $tool >/dev/null || fail "container.sh build needs $tool"
  done
  mkdir -p "$FOLDER"
  stored buildah images --quiet "$BASE" >/dev/null 2>&1 || base
  # This machine may trust whom the image does not, such as a proxy that signs for others.
  stored buildah bud --quiet --isolation chroot --pull-never --network host --layers \
    --volume /etc/ssl/certs:/etc/ssl/certs:ro --tag trailhound .
}

run() {
  # runc takes older layouts of cgroups as well.
  runtime=$(command -v runc || command -v crun) || fail 'container.sh podman needs runc or crun'
  stored podman --runtime "$runtime" --cgroup-manager cgroupfs --events-backend none "$@"
}

case ${1-} in
  build) build ;;
  podman) shift; run "$@" ;;
  clean) rm -rf "$FOLDER" ;;
  *) fail 'usage: container.sh build | podman ARGUMENTS | clean' ;;
esac
