#!/usr/bin/env bash
# Writes what is in an image of the proxy, Debian's packages and the crates of nodeweir-proxy, as CycloneDX 1.7 in JSON.
#   docker/sbom.sh IMAGE FILE [--arch arm64|x86_64] [--engine docker|podman|buildah]
# The image is one that build_and_upload.sh built of this tree and that the engine has here; the crates are those of the
# tree's Cargo.lock. Needs debsbom (pip install debsbom) and cargo-cyclonedx (cargo install cargo-cyclonedx --locked).
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
die() { printf 'error: %s\n' "$*" >&2; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

arch="" engine="" words=()
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --arch | --engine) (($# > 1)) || die "$1 needs a value"; printf -v "${1#--}" %s "$2"; shift 2 ;;
    -*) die "unknown argument '$1'; see --help" ;;
    *) words+=("$1"); shift ;;
  esac
done
((${#words[@]} == 2)) || die "name an image and a file; see --help"
image="${words[0]}" file="${words[1]}"
if [[ -z $arch ]]; then arch="$(uname -m)"; fi
case $arch in
  arm64 | aarch64) platform=linux/arm64 debian=arm64 target=aarch64-unknown-linux-gnu ;;
  x86_64 | amd64) platform=linux/amd64 debian=amd64 target=x86_64-unknown-linux-gnu ;;
  *) die "--arch is arm64 or x86_64, not '$arch'" ;;
esac
for one in docker podman buildah; do
  # A Docker whose engine does not run is none.
  if [[ -z $engine ]] && have "$one" && { [[ $one != docker ]] || docker info >/dev/null 2>&1; }; then engine=$one; fi
done
[[ -n $engine ]] || die "none of docker, podman and buildah is here: install one"
for one in "$engine" debsbom cargo-cyclonedx; do have "$one" || die "$one is not here; see --help"; done

work="$(mktemp -d)"
# cargo-cyclonedx writes a file beside the manifest of each crate, and only there.
beside="sbom-$$"
trap 'rm -rf "$work"; find "$root" -path "*/target" -prune -o -name "$beside.json" -exec rm -f {} +' EXIT

# Nothing of the image is run, so that it may be for another processor. All engines can do this; of Docker's, BuildKit.
printf '%s\n' "FROM $image AS image" 'FROM scratch' \
  'COPY --from=image /var/lib/dpkg/ /var/lib/dpkg/' 'COPY --from=image /usr/share/doc/ /usr/share/doc/' >"$work/Dockerfile"
"$engine" build --pull=false --platform "$platform" --file "$work/Dockerfile" \
  --output "type=local,dest=$work/image" "$work" >&2
# It warns of each source package whose maintainer the image does not name: only a failure is worth reading.
debsbom generate --root "$work/image" --distro-arch "$debian" --with-licenses -t cdx -o "$work/debian" >"$work/log" 2>&1 ||
  { cat "$work/log" >&2; exit 1; }

# Without what is only run while others are compiled. What features of other members switch on is there too.
(cd "$root" && cargo cyclonedx --manifest-path crates/container/Cargo.toml --format json --spec-version 1.5 \
  --target "$target" --no-build-deps --override-filename "$beside" >&2)
# Where the tree lies is nobody's business.
sed "s|path+file://$root/|path+file:///src/|g" "$root/crates/container/$beside.json" >"$work/crates.json"

# The last of a name such as HOST/jsonrpc-proxy:TAG.
name="${image##*/}"
debsbom merge -t cdx --distro-name "${name%%:*}" --distro-version "${name#*:}" --distro-summary "$image" \
  -o "$work/merged" "$work/crates.json" "$work/debian.cdx.json" >&2
mv "$work/merged.cdx.json" "$file"
