#!/usr/bin/env bash
# Checks a decision certificate by hand: bash, openssl (1.1.1 or newer) and coreutils, nothing of Quorate.
#
#   usage: verify-certificate.sh CERTIFICATE CHARTER
#
#   CERTIFICATE   a C2SP tlog-proof file:      quorate decision certificate 1 > 1.tlog-proof
#   CHARTER       the charter of that epoch:   charter.leaf as `quorate init` wrote it, or
#                                              quorate charter show --epoch 1 --note > charter.leaf
#
# Exit codes: 0 every check passed, 2 usage, 3 a check failed (standard error names it).
# docs/verify-by-hand.md explains each step, and lists what a shell cannot check.
set -euo pipefail
export LC_ALL=C # bytes, not letters: names sort and compare as bytes

if [ $# -ne 2 ] || [ ! -r "$1" ] || [ ! -r "$2" ]; then
  sed -n '4,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

refuse() { printf 'REFUSED  %s\n' "$*" >&2; exit 3; }
passed() { printf '%-9s%s\n' ok "$*"; }

# --- bytes as upper-case hexadecimal, because a shell variable holds no zero byte ---------------------
to_hex() { basenc --base16 --wrap=0; }
from_hex() { printf %s "$1" | basenc --base16 --decode; }
base64_hex() { printf %s "$1" | base64 --decode 2> "$work/error" | to_hex; }
sha256_hex() { openssl dgst -sha256 -binary | to_hex; }
lower() { printf %s "$1" | tr 'A-F' 'a-f'; }

# Is $3 (64 bytes, hex) the Ed25519 signature of file $2 by public key $1 (32 bytes, hex)?
signed_by() {
  # 12 bytes of DER say "an Ed25519 public key"; openssl wants them in front of the 32.
  from_hex "302A300506032B6570032100$1" > "$work/key.der"
  from_hex "$3" > "$work/signature"
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" \
    -rawin -in "$2" -sigfile "$work/signature" > "$work/openssl" 2>&1
}

# The value of the only line `$1 value` among the lines that follow.
value_of() {
  local key=$1 line found=''
  shift
  for line in "$@"; do
    if [ "${line%% *}" = "$key" ]; then
      [ -z "$found" ] || refuse "two lines '$key'"
      found=${line#* }
    fi
  done
  [ -n "$found" ] || refuse "no line '$key'"
  printf %s "$found"
}

# --- 1. the two files --------------------------------------------------------------------------------
mapfile -t proof < "$1"
mapfile -t charter < "$2"
[ "${proof[0]:-}" = 'c2sp.org/tlog-proof@v1' ] || refuse 'this is no tlog-proof file'
[[ ${proof[1]:-} == 'extra '* ]] || refuse 'the proof carries no leaf (no line extra)'
[[ ${proof[2]:-} =~ ^index\ (0|[1-9][0-9]{0,17})$ ]] || refuse 'the proof has no index'
index=${BASH_REMATCH[1]}
printf %s "${proof[1]#extra }" | base64 --decode > "$work/leaf" || refuse 'extra is not base64'

at=3
hashes=()
while [ -n "${proof[at]:-}" ]; do
  hash=$(base64_hex "${proof[at]}") || refuse "hash $((at - 2)) is not base64"
  [ ${#hash} -eq 64 ] || refuse "hash $((at - 2)) has not 32 bytes"
  hashes+=("$hash")
  at=$((at + 1))
done
[ ${#hashes[@]} -le 63 ] || refuse 'more than 63 hashes'
checkpoint=("${proof[@]:at + 1}")
[ ${#checkpoint[@]} -ge 5 ] && [ -z "${checkpoint[3]}" ] || refuse 'the checkpoint has not three lines'
[[ ${checkpoint[1]} =~ ^[1-9][0-9]{0,17}$ ]] || refuse 'the size of the checkpoint is no number'
size=${checkpoint[1]}
root=$(base64_hex "${checkpoint[2]}") || refuse 'the root is not base64'
printf '%s\n' "${checkpoint[@]:0:3}" > "$work/checkpoint"
head_lines=("${checkpoint[@]:4}")

[ "${charter[0]:-}" = 'quorate-charter/v1' ] || refuse 'the second file is no charter'
end=0
while [ -n "${charter[end]:-}" ]; do end=$((end + 1)); done
charter_text=("${charter[@]:0:end}")
charter_lines=("${charter[@]:end + 1}")
printf '%s\n' "${charter_text[@]}" > "$work/charter"
charter_id=sha256:$(lower "$(sha256_hex < "$work/charter")")
origin=$(value_of origin "${charter_text[@]}")
[ "${checkpoint[0]}" = "$origin" ] || refuse "the checkpoint is of ${checkpoint[0]}, the charter of $origin"
passed "charter        $charter_id"

# --- 2. signatures: one line per known key ------------------------------------------------------------
# count_signers ROLES LINES FILE: how many keys of the charter with one of these roles signed FILE?
# A line of a known key that is false refuses everything; a line of an unknown key is ignored.
signers=0
count_signers() {
  local roles=$1 message=$3 line words vkey name id key signature
  local -n lines=$2
  signers=0
  for line in "${charter_text[@]}"; do
    read -ra words <<< "$line"
    [[ " $roles " == *" ${words[0]} "* ]] || continue
    vkey=${words[-1]} # name+id+base64(type, public key); the base64 may itself hold a '+'
    name=${vkey%%+*}
    vkey=${vkey#*+}
    id=${vkey%%+*}
    key=$(base64_hex "${vkey#*+}") || refuse "key of $name"
    # The key id is the start of a digest over name, type and key: check that the charter is honest.
    derived=$({ printf '%s\n' "$name"; from_hex "$key"; } | sha256_hex)
    [ "$(lower "${derived:0:8}")" = "$id" ] || refuse "the key id of $name is not that of its key"
    for signature in "${lines[@]}"; do
      [ "${signature% *}" = $'\xe2\x80\x94'" $name" ] || continue
      signature=$(base64_hex "${signature##* }") || refuse "a line of $name is not base64"
      [ "$(lower "${signature:0:8}")" = "$id" ] || continue
      if [ "${key:0:2}" = 04 ]; then
        # A cosignature: 8 bytes of time, then the signature over a header, the time and the checkpoint.
        { printf 'cosignature/v1\ntime %d\n' "0x${signature:8:16}"; cat "$message"; } > "$work/message"
        signature=${signature:24}
      else
        cp "$message" "$work/message"
        signature=${signature:8}
      fi
      signed_by "${key:2}" "$work/message" "$signature" || refuse "the signature of $name is false"
      printf '%-9s  %s\n' '' "$name"
      signers=$((signers + 1))
      break # a key counts once, however many lines it wrote
    done
  done
}

count_signers operator charter_lines "$work/charter"
operators=$(printf '%s\n' "${charter_text[@]}" | grep -c '^operator ')
[ $((2 * signers)) -gt "$operators" ] && [ "$signers" -ge 2 ] ||
  refuse "only $signers of $operators operators signed the charter"
passed "operators      $signers of $operators signed the charter"

count_signers coordinator head_lines "$work/checkpoint"
threshold=$(value_of threshold "${charter_text[@]}")
[ "$signers" -ge "$threshold" ] || refuse "only $signers cosignatures, the charter wants $threshold"
passed "cosignatures   $signers, needed $threshold"

# --- 3. inclusion: RFC 9162, section 2.1.3.2 -----------------------------------------------------------
[ "$index" -lt "$size" ] || refuse "index $index is not below the size $size"
node=$({ printf '\0'; cat "$work/leaf"; } | sha256_hex)
here=$index
last=$((size - 1))
for hash in "${hashes[@]+"${hashes[@]}"}"; do
  [ $last -gt 0 ] || refuse 'the proof is too long'
  if [ $((here & 1)) -eq 1 ] || [ $here -eq $last ]; then
    node=$(from_hex "01$hash$node" | sha256_hex)
    while [ $((here & 1)) -eq 0 ] && [ $here -gt 0 ]; do
      here=$((here >> 1))
      last=$((last >> 1))
    done
  else
    node=$(from_hex "01$node$hash" | sha256_hex)
  fi
  here=$((here >> 1))
  last=$((last >> 1))
done
[ $last -eq 0 ] || refuse 'the proof is too short'
[ "$node" = "$root" ] || refuse 'the leaf is not in the signed tree'
passed "inclusion      leaf $index of $size"

# --- 4. the decision and its votes ---------------------------------------------------------------------
mapfile -t leaf < "$work/leaf"
if [ "${leaf[0]}" != 'quorate-decision/v1' ]; then
  passed "leaf           ${leaf[0]}: included and cosigned; only decisions carry votes"
  exit 0
fi
at=0
while [ -n "${leaf[at]:-}" ]; do at=$((at + 1)); done
decision=("${leaf[@]:0:at}")
from=$((at + 1))
at=$from
while [ -n "${leaf[at]:-}" ]; do at=$((at + 1)); done
proposal=("${leaf[@]:from:at - from}")
from=$((at + 1))
at=$from
while [ -n "${leaf[at]:-}" ]; do at=$((at + 1)); done
vote=("${leaf[@]:from:at - from}")
vote_lines=("${leaf[@]:at + 1}")
printf '%s\n' "${proposal[@]}" > "$work/proposal"
printf '%s\n' "${vote[@]}" > "$work/vote"

[ "${vote[0]}" = 'quorate-vote/v1' ] || refuse 'the leaf carries no votes'
epoch=$(value_of epoch "${charter_text[@]}")
proposal_id=sha256:$(lower "$(sha256_hex < "$work/proposal")")
for part in decision proposal vote; do
  declare -n lines=$part
  [ "$(value_of origin "${lines[@]}")" = "$origin" ] || refuse "the $part has another origin"
  [ "$(value_of epoch "${lines[@]}")" = "$epoch" ] || refuse "the $part has another epoch"
done
[ "$(value_of charter "${proposal[@]}")" = "$charter_id" ] || refuse 'the proposal names another charter'
[ "$(value_of cluster "${proposal[@]}")" = "$(value_of cluster "${decision[@]}")" ] ||
  refuse 'the proposal is for another cluster'
[ "$(value_of proposal "${vote[@]}")" = "$proposal_id" ] || refuse 'the votes are for another proposal'
[ "$(value_of verdict "${vote[@]}")" = approve ] || refuse 'the votes do not approve'
[ "$(value_of expires "${vote[@]}")" = "$(value_of expires "${proposal[@]}")" ] ||
  refuse 'the votes have another expiry'

count_signers 'operator agent' vote_lines "$work/vote"
[ "$signers" -eq ${#vote_lines[@]} ] || refuse 'a vote is by a key that is not in the charter, or there twice'
passed "votes          $signers validators signed one text: approve $proposal_id"
counter=${origin##*/}
passed "decision       token ${counter%%-*}.$(value_of number "${decision[@]}")," \
  "$(value_of kind "${proposal[@]}") $(value_of target "${proposal[@]}")" \
  "in $(value_of cluster "${decision[@]}")"
