#!/usr/bin/env bash
# Builds the proxy's image and puts it into ECR. Prints the image's name for `aws.image`.
#   docker/build_and_upload.sh [--arch arm64|x86_64] [--proxy nginx|haproxy] [--repository NAME] [--dry-run]
#   docker/build_and_upload.sh --registry HOST[:PORT] ...        to another registry, which you have logged in to
# Credentials and region are those of the AWS CLI: a profile (AWS_PROFILE), keys, a session token.
# --prebuilt FILE takes a nodeweir-proxy that was built elsewhere for that architecture. --engine docker|podman|buildah is
# the one to build with; else it is the first of them that is here. --sbom FILE writes what is in the image: docker/sbom.sh.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

arch="" proxy=nginx repository=jsonrpc-proxy registry="" prebuilt="" engine="" sbom="" dry=no
while (($#)); do
  case $1 in
    --dry-run) dry=yes; shift; continue ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --arch | --proxy | --repository | --registry | --prebuilt | --engine | --sbom) (($# > 1)) || die "$1 needs a value" ;;
    *) die "unknown argument '$1'; see --help" ;;
  esac
  case $1 in
    --arch) arch=$2 ;;
    --proxy) proxy=$2 ;;
    --repository) repository=$2 ;;
    --registry) registry=$2 ;;
    --prebuilt) prebuilt=$2 ;;
    --engine) engine=$2 ;;
    --sbom) sbom=$2 ;;
  esac
  shift 2
done
if [[ -z $arch ]]; then arch="$(uname -m)"; fi
case $arch in
  arm64 | aarch64) arch=arm64 platform=linux/arm64 ;;
  x86_64 | amd64) arch=x86_64 platform=linux/amd64 ;;
  *) die "--arch is arm64 or x86_64, as aws.service.architecture, not '$arch'" ;;
esac
[[ $proxy == nginx || $proxy == haproxy ]] || die "--proxy is nginx or haproxy, not '$proxy'"
[[ $repository =~ ^[a-z0-9]+([._/-][a-z0-9]+)*$ ]] || die "'$repository' is no name for a repository"
[[ -z $prebuilt || -f $prebuilt ]] || die "there is no file $prebuilt"

engines=(docker podman buildah)
if [[ -n $engine ]]; then
  [[ " ${engines[*]} " == *" $engine "* ]] || die "--engine is docker, podman or buildah, not '$engine'"
  have "$engine" || die "$engine is not here"
else
  for one in "${engines[@]}"; do
    # A Docker whose engine does not run is none.
    if have "$one" && { [[ $one != docker ]] || docker info >/dev/null 2>&1; }; then engine=$one; break; fi
  done
  [[ -n $engine ]] || die "none of docker, podman and buildah is here (or Docker does not run): install one"
fi
if [[ -n $sbom ]]; then
  for one in debsbom cargo-cyclonedx; do have "$one" || die "$one is not here, which --sbom needs: see docker/sbom.sh --help"; done
fi
have git || die "git is not here: the image's tag has the commit"

# run WORDS...: does it, or says what it would do.
run() {
  if [[ $dry == yes ]]; then say "would run: $*"; else "$@" >&2; fi
}

version="$(sed -n 's/^version *= *"\(.*\)"/\1/p' "$root/Cargo.toml" | head -n1)"
commit="$(git -C "$root" rev-parse --short=12 HEAD)"
# Tags cannot be written over, so that each state of a tree with changes needs one of its own.
if [[ -n "$(git -C "$root" status --porcelain)" ]]; then commit="$commit-changed-$(date -u +%Y%m%d%H%M%S)"; fi
tag="$version-$commit-$arch"
if [[ $proxy == haproxy ]]; then tag="$tag-haproxy"; fi

if [[ -z $registry ]]; then
  have aws || die "the AWS CLI is not here: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html"
  region="${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}"
  [[ -n $region ]] || die "no region: set AWS_REGION"
  account="$(aws sts get-caller-identity --region "$region" --query Account --output text)" ||
    die "AWS does not know you: see AWS_PROFILE, or sign in"
  registry="$account.dkr.ecr.$region.amazonaws.com"
  if ! found="$(aws ecr describe-repositories --region "$region" --repository-names "$repository" 2>&1)"; then
    [[ $found == *RepositoryNotFoundException* ]] ||
      die "the ECR repository $repository cannot be asked for:" "${found//$'\n'/ }"
    # A tag stays what it was; what is pushed is looked through for known faults.
    run aws ecr create-repository --region "$region" --repository-name "$repository" \
      --image-tag-mutability IMMUTABLE --image-scanning-configuration scanOnPush=true ||
      die "the ECR repository $repository cannot be made"
  elif aws ecr describe-images --region "$region" --repository-name "$repository" --image-ids imageTag="$tag" \
    >/dev/null 2>&1; then
    say "it is there already; write this into the configuration, as aws.image:"
    printf '%s\n' "$registry/$repository:$tag"
    exit 0
  fi
  if [[ $dry == yes ]]; then say "would log in to $registry"
  else
    password="$(aws ecr get-login-password --region "$region")" || die "ECR gives no password for $registry"
    printf '%s' "$password" | "$engine" login --username AWS --password-stdin "$registry" >&2 ||
      die "$engine cannot log in to $registry; can this machine reach it?"
  fi
fi
image="$registry/$repository:$tag"

build=(--file "$root/docker/Dockerfile" --target "$proxy" --platform "$platform" --tag "$image"
  --build-arg VERSION="$version" --build-arg REVISION="$commit")
if [[ -n $prebuilt ]]; then
  run install -D "$prebuilt" "$root/docker/prebuilt/nodeweir-proxy"
  build+=(--build-arg BINARY=prebuilt)
fi
# Docker's own format, because the other one has no health check.
if [[ $engine != docker ]]; then build+=(--format docker); fi
run "$engine" build "${build[@]}" "$root"
# Before it is pushed: what cannot be told is not uploaded.
if [[ -n $sbom ]]; then run "$root/docker/sbom.sh" "$image" "$sbom" --arch "$arch" --engine "$engine"; fi
run "$engine" push "$image"
say "write this into the configuration, as aws.image:"
printf '%s\n' "$image"
