#!/bin/sh
# Installs plantbridge from SOURCE into a new virtual environment at TARGET, without what only building needs.
# The Dockerfile runs it, and so does a machine without containers: sh docker/install.sh . /opt/plantbridge
set -eu
[ $# -eq 2 ] || { echo "usage: sh docker/install.sh SOURCE TARGET" >&2; exit 2; }
source=$1 target=$2
python3 -m venv "$target"
"$target/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check "$source"
"$target/bin/python" -m pip check
"$target/bin/python" -m pip uninstall --quiet --yes pip
# a read-only root cannot keep byte code
"$target/bin/python" -m compileall -q "$target/lib"
"$target/bin/plantbridge" --version
