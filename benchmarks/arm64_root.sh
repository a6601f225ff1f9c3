#!/bin/sh
# An arm64 Debian with Python and LiteRT, run by qemu's user emulation: one command, no root rights.
#
#   benchmarks/arm64_root.sh [FOLDER]      default: build/arm64; about a minute, 300 MB
#
# FOLDER/python then is a Python of arm64. Nothing is installed on this machine: packages of Debian
# are unpacked, wheels of PyPI put beside them in the versions that PYTHON has here. It is done
# again only when these versions change. MIRROR names another mirror of Debian.
set -eu

folder=${1:-build/arm64}
PYTHON=${PYTHON:-python3}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SUITE=bookworm
WANTED="python3.11 libstdc++6 libgcc-s1"
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

missing=
for need in qemu-aarch64-static:qemu-user-static apt-get:apt dpkg-deb:dpkg; do
  command -v "${need%%:*}" >/dev/null || missing="$missing ${need##*:}"
done
[ -f "$KEYS" ] || missing="$missing debian-archive-keyring"
if [ -n "$missing" ]; then
  echo "Missing:$missing (Debian and Ubuntu: apt install$missing)" >&2
  exit 1
fi
"$PYTHON" -m pip --version >/dev/null 2>&1 || {
  echo "$PYTHON has no pip. Name a Python that has: PYTHON=.venv/bin/python $0" >&2
  exit 1
}
versions=$("$PYTHON" -c 'from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in ("ai-edge-litert", "numpy")))' 2>/dev/null) || {
  echo "$PYTHON has no ai-edge-litert to take the version of; PYTHON=.venv/bin/python $0" >&2
  exit 1
}
stamp="$SUITE $WANTED $versions 1"
if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
  echo "$folder is ready: $versions"
  exit 0
fi

mkdir -p "$(dirname "$folder")"
part="$(cd "$(dirname "$folder")" && pwd)/.$(basename "$folder").part"
rm -rf "$part"
trap 'rm -rf "$part"' EXIT
trap 'exit 1' INT TERM HUP
mkdir -p "$part/root/proc" "$part/apt/lists/partial" "$part/apt/archives/partial"

echo "Packages of Debian $SUITE for arm64 from $MIRROR"
echo "deb [signed-by=$KEYS] $MIRROR $SUITE main" >"$part/apt/sources.list"
: >"$part/apt/status"
cat >"$part/apt/conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Debug::NoLocking "true";
Dir::State "$part/apt";
Dir::State::Lists "$part/apt/lists";
Dir::State::status "$part/apt/status";
Dir::Cache "$part/apt";
Dir::Cache::archives "$part/apt/archives";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$part/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
END
APT_CONFIG="$part/apt/conf" apt-get -qq update
# shellcheck disable=SC2086 # one word a package
APT_CONFIG="$part/apt/conf" apt-get -qq --yes --download-only install $WANTED >/dev/null
for package in "$part"/apt/archives/*.deb; do
  dpkg-deb --extract "$package" "$part/root"
done

echo "Wheels of aarch64: $versions"
# shellcheck disable=SC2086
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-compile \
  --target "$part/site" --python-version 3.11 --implementation cp --only-binary=:all: \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 $versions
rm -rf "$part/apt"

# XNNPACK asks /proc/cpuinfo for what the processor can do; that of the host would be an x86's.
for core in 0 1; do
  printf '%s\t: %s\n' processor "$core" BogoMIPS 100.00 \
    Features "fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc asimddp" \
    "CPU implementer" 0x41 "CPU architecture" 8 "CPU variant" 0x4 "CPU part" 0xd0b "CPU revision" 1
  echo
done >"$part/root/proc/cpuinfo"
printf 'Hardware\t: Cortex-A76 emulated by qemu\n' >>"$part/root/proc/cpuinfo"

cat >"$part/python" <<'END'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
exec qemu-aarch64-static -cpu cortex-a76 -L "$here/root" -E PYTHONPATH="$here/site" \
  "$here/root/usr/bin/python3.11" -B "$@"
END
chmod +x "$part/python"

"$part/python" -c 'import platform, numpy, ai_edge_litert.interpreter
assert platform.machine() == "aarch64"'
echo "$stamp" >"$part/stamp"
rm -rf "$folder"
mv "$part" "$folder"
echo "$folder is ready: $versions"
