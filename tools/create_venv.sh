#!/usr/bin/env bash
# Creates .venv unless it already works. Optional argument: the interpreter to use.
set -euo pipefail

usable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if .venv/bin/python -m pip --version >/dev/null 2>&1; then
  exit 0
fi

for candidate in ${1:+"$1"} $([ -n "${1:-}" ] || echo python3.11 python3); do
  if usable "$candidate"; then
    echo "Creating .venv with $("$candidate" --version) ($candidate)"
    exec "$candidate" -m venv --clear .venv
  fi
done

cat >&2 <<MESSAGE
No usable Python found. Tried: ${1:-python3.11, python3}.
Python 3.11 or newer with the venv module is needed (Debian, Ubuntu: apt install python3.11-venv).
To name one: make setup PYTHON=/path/to/python3.11
MESSAGE
exit 1
