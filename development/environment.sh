#!/usr/bin/env bash
# Makes the folders of packages that the targets of the Makefile run in: each once, and again only when what it is
# made of has changed. Nothing is compiled: what the Makefile adds to the call (--only-binary :all:) forbids it.
#
#   environment.sh demo|tests|trace-store|model|programs|peers|release|site [further options of the installer]
#   environment.sh python                 print the interpreter that is taken
#
# PYTHON names an interpreter, UV the program uv (empty: pip is used even where uv is there).
#
# Rules: it says one line when it fails: what is wrong, and what to do. A second try starts from what is whole:
# a folder that was not made to its end is removed. Two at once wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ASKED=${1:-}
OPTIONS=("${@:2}")
NEWEST_MINOR=14
CANDIDATES=(python3.11 python3.12 python3.13 python3.14 python3)
AGAIN="make ${MAKE_TARGET:-$ASKED}"

fail() {
  echo "makespan: $*" >&2
  exit 1
}

# --- The interpreter ---------------------------------------------------------------------------------------------

minor_of() { "$1" -c 'import sys; print(sys.version_info[1] if sys.version_info[0] == 3 else 0)' 2> /dev/null || echo none; }

find_python() {
  local candidate minor
  if [ -n "${PYTHON:-}" ]; then
    minor=$(minor_of "$PYTHON")
    [ "$minor" != none ] || fail "PYTHON=$PYTHON cannot be run: name an interpreter of Python 3.11 or newer."
    [ "$minor" -ge 11 ] || fail "PYTHON=$PYTHON is too old: makespan needs Python 3.11 or newer."
    echo "$PYTHON"
    return
  fi
  for candidate in "${CANDIDATES[@]}"; do
    minor=$(minor_of "$candidate")
    if [ "$minor" != none ] && [ "$minor" -ge 11 ]; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer on the PATH (looked for: ${CANDIDATES[*]}). Debian, Ubuntu: apt-get install python3" \
    "python3-venv. Elsewhere: $AGAIN PYTHON=/path/to/python3."
}

PEER_VERSIONS=tests/benchmarks/peers/constraints.txt

# --- What each folder is made of ---------------------------------------------------------------------------------

list_of() { FOLDER=$1 PROGRAM=$2 LIST=$3 NEEDED=$4 ARGUMENTS=(--no-deps -r "$3"); }

describe() {
  LIST="" CONSTRAINTS=constraints.txt EACH=()
  case $ASKED in
    demo)
      FOLDER=.venv PROGRAM=makespan NEEDED="what makespan needs (about 80 MB)" ARGUMENTS=(-c constraints.txt -e .) ;;
    tests)
      FOLDER=.venv PROGRAM=pytest NEEDED="what the tests need (about 410 MB)" ARGUMENTS=(-c constraints.txt -e '.[dev]') ;;
    # Each file names all that is loaded, and of MLflow nothing of what it draws and trains with, which is as much again.
    # So the installer must not look for what the packages depend on.
    trace-store) list_of .venv-trace-store mlflow tests/trace-store.txt "a trace store (about 100 MB)" ;;
    release) list_of .venv-release twine development/release.txt "what checks a release" ;;
    site) list_of .venv-site zensical development/site.txt "what makes the site" ;;
    model)
      FOLDER=.venv-model PROGRAM=pytest NEEDED="what the tests of a real model need (about 90 MB)"
      ARGUMENTS=(-c constraints.txt -e . pytest pytest-asyncio pytest-benchmark pytest-timeout jsonschema hypothesis) ;;
    # Real programs that are recorded: what they are made of, and what instruments them.
    programs)
      FOLDER=.venv-programs PROGRAM=makespan NEEDED="what the recorded programs need (about 150 MB)"
      ARGUMENTS=(-c constraints.txt -e '.[record,dask]' 'a2a-sdk[http-server]==1.3.0' langgraph fastapi uvicorn
        opentelemetry-instrumentation-fastapi) ;;
    # Others that run graphs, to be measured beside makespan. One that cannot be had becomes a row that says so.
    peers)
      FOLDER=.venv-peers PROGRAM=makespan NEEDED="makespan and its peers (about 490 MB)" CONSTRAINTS=$PEER_VERSIONS
      ARGUMENTS=(-c "$PEER_VERSIONS" -e .)
      EACH=('dask distributed' ray langgraph prefect parsl apache-hamilton dagster) ;;
    *) fail "environment.sh makes demo, tests, trace-store, model, programs, peers, release or site, not '$ASKED'." ;;
  esac
  STAMP=$FOLDER/.made-for-$ASKED
  HALF_MADE=$FOLDER/.half-made
}

# What the folder depends on, as text. Settings of the tools that check the code do not count; the folder's own place
# does, since its programs name it.
ingredients() {
  echo "$PWD/$FOLDER"
  [ -z "${PYTHON:-}" ] || "$PYTHON" --version
  if [ -n "$LIST" ]; then
    cksum "$LIST"
  else
    awk '/^\[/ { counts = !/^\[+tool\./ || /^\[+tool\.hatch/ } counts' pyproject.toml | cksum
    cksum constraints.txt
    [ "$CONSTRAINTS" = constraints.txt ] || cksum "$CONSTRAINTS"
  fi
}

is_current() {
  local stamp
  [ -x "$FOLDER/bin/python" ] && [ -x "$FOLDER/bin/$PROGRAM" ] && [ ! -e "$HALF_MADE" ] || return 1
  # What the tests need holds what the demo needs.
  for stamp in "$STAMP" "$FOLDER/.made-for-tests"; do
    if [ -r "$stamp" ] && [ "$(< "$stamp")" = "$INGREDIENTS" ]; then return 0; fi
  done
  return 1
}

# --- Making one --------------------------------------------------------------------------------------------------

# Words of pip and uv. What speaks another protocol, as a proxy with a page of its own does, breaks off the handshake.
STRANGE='tls handshake eof|SSLZeroReturnError|UNEXPECTED_EOF|WRONG_VERSION_NUMBER|InvalidContentType|corrupt message'
CERTIFICATE='CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer|ssl certificate|TLS CA certificate'
REFUSED='Tunnel connection failed|tunnel error: unsuccessful|40[137] (Client Error|Forbidden|Unauthorized|Proxy)|'
REFUSED+='HTTP error 40[137]|status client error'
NOT_THERE='NewConnectionError|NameResolution|name resolution|Name or service|[Cc]onnection refused|Network is unreachable|'
NOT_THERE+='[Tt]imed out|TimeoutError|dns error|tcp connect|error sending request|[Cc]ould not connect|'
NOT_THERE+='Connection reset|Connection aborted|RemoteDisconnected|IncompleteRead'
NO_PACKAGE='from versions: none|ResolutionImpossible|there (is|are) no versions? of|not found in the package registry|BadZipFile|not a zip file|'
NO_PACKAGE+='[Ii]nvalid zip|central directory|[Ii]nvalid wheel|is invalid|not a valid wheel|DO NOT MATCH THE HASHES|'
NO_PACKAGE+='[Hh]ash mismatch'
NO_WHEEL='No matching distribution|no wheels|No solution found|no usable wheels'
FULL='No space left on device|Errno 28|os error 28|Disk quota exceeded|os error 122'

free_kilobytes() { df -Pk "$1" 2> /dev/null | awk 'NR == 2 { print $4 }'; }

# From the output of pip or uv to one line. No here-documents: they need space on the disk.
explain() {
  local said=$1 line last="" here there
  here=$(free_kilobytes .) there=$(free_kilobytes "${TMPDIR:-/tmp}")
  while IFS= read -r line; do
    if [[ ${line,,} =~ ^[^a-z]*(error|cause|caused\ by):\  && ! $line =~ subprocess-exited ]]; then last=${line#"${line%%[![:space:]]*}"}; fi
  done < <(printf '%s' "$said")
  says() { [[ $said =~ $1 ]]; }
  if says "$FULL" || [ "${here:-99999}" -lt 2048 ] || [ "${there:-99999}" -lt 2048 ]; then
    echo "the disk is full ($((here / 1024)) MB free here, $((there / 1024)) MB in ${TMPDIR:-/tmp}): free about" \
      "a gigabyte, then run \`$AGAIN\` again."
  elif says 'Read-only file system|os error 30|Permission denied|os error 13'; then
    echo "a file cannot be written (${last:-permission denied}): see to whom it belongs, then run \`$AGAIN\` again."
  elif says "$STRANGE"; then
    echo "something that is no package index answers in its place, as a proxy or a login page does: open any page in" \
      "a browser, or check HTTPS_PROXY, then run \`$AGAIN\` again."
  elif says "$CERTIFICATE"; then
    echo "the package index shows a certificate that this machine does not know, as behind some proxies: name the file" \
      "of your network's certificates in PIP_CERT and SSL_CERT_FILE, then run \`$AGAIN\` again."
  elif says "$REFUSED"; then
    echo "the package index, or a proxy before it, refuses to answer: check HTTPS_PROXY and the index's address and" \
      "password, then run \`$AGAIN\` again."
  elif says "$NOT_THERE"; then
    echo "the package index cannot be reached: check the network, or HTTPS_PROXY, then run \`$AGAIN\` again."
  elif says "$NO_PACKAGE"; then
    echo "the package index does not answer with the package asked for: a proxy or a login page may be in its place," \
      "or a mirror lack it. Open any page in a browser, or check the index's address, then run \`$AGAIN\` again."
  elif says "$NO_WHEEL"; then
    echo "no ready-made package for $("$FOLDER/bin/python" --version) on $(uname -m) (${last:-of one that is needed})." \
      "Take another Python, 3.11 to 3.$NEWEST_MINOR: $AGAIN PYTHON=/path/to/python3."
  else
    echo "installing failed (${last:-no reason was given}): mend that, then run \`$AGAIN\` again."
  fi
}

# On a terminal one line moves; everything else is kept for the explanation.
run_quietly() {
  local line said="" status=0 moving=""
  [ ! -t 1 ] || moving=yes
  while IFS= read -r line; do
    if [ "$line" = "$END:0" ]; then continue; fi
    if [ "${line%%:*}" = "$END" ]; then status=${line##*:}; continue; fi
    said+=$line$'\n'
    if [ -n "$moving" ] && [[ $line =~ ^\ *(Downloading|Installing)\  ]]; then printf '\r\033[K%.78s' "$line"; fi
  done < <("$@" 2>&1 < /dev/null || echo "$END:$?")
  [ -z "$moving" ] || printf '\r\033[K'
  if [ "$status" -ne 0 ]; then fail "$(explain "$said")"; fi
}
END=ended-with

begin_folder() { mkdir -p "$FOLDER" && : > "$HALF_MADE"; }

end_folder() { echo "$INGREDIENTS" > "$STAMP" && rm -f "$HALF_MADE"; }

make_folder() {
  local python=$1
  if [ -n "$UV" ]; then
    run_quietly "$UV" venv --quiet --allow-existing --python "$(command -v "$python")" "$FOLDER"
  else
    "$python" -c 'import venv, ensurepip' > /dev/null 2>&1 ||
      fail "$python cannot make a virtual environment, its venv module is missing. Debian, Ubuntu: apt-get install" \
        "python3-venv, then run \`$AGAIN\` again."
    run_quietly "$python" -m venv "$FOLDER"
  fi
}

# The versions are those of constraints.txt either way, also of what builds the project's own package. Modules are
# compiled when they are first imported: compiling all of them would take longer than the demo.
install() {
  local python=$FOLDER/bin/python
  if [ -n "$UV" ]; then
    # With pip, which `makespan llm install` calls.
    run_quietly "$UV" pip install --python "$python" --build-constraints constraints.txt "${OPTIONS[@]}" pip \
      "${ARGUMENTS[@]}"
  else
    # A list of a folder's own names other versions than constraints.txt, and builds nothing.
    if [ -z "$LIST" ]; then export PIP_CONSTRAINT=$CONSTRAINTS PIP_BUILD_CONSTRAINT=constraints.txt; fi
    PIP_RETRIES=${PIP_RETRIES:-2} \
      run_quietly "$python" -m pip install --disable-pip-version-check --no-input --progress-bar off --no-compile \
      "${OPTIONS[@]}" "${ARGUMENTS[@]}"
  fi
}

remove_half_made() {
  if [ -e "$HALF_MADE" ]; then rm -rf "$FOLDER" 2> /dev/null || true; fi
}

# A folder that was moved is not usable: the programs in it begin with the path of their interpreter.
is_usable() {
  local stamp place
  [ ! -e "$HALF_MADE" ] || return 1
  for stamp in "$FOLDER"/.made-for-*; do
    if [ -r "$stamp" ] && read -r place < "$stamp" && [ "$place" != "$PWD/$FOLDER" ]; then return 1; fi
  done
  "$FOLDER/bin/python" -c "import pip, sys; sys.exit($1)" > /dev/null 2>&1
}

main() {
  local python one names must="sys.version_info < (3, 11)"
  describe
  [ -z "${PYTHON:-}" ] || PYTHON=$(find_python)
  INGREDIENTS=$(ingredients)
  if is_current; then return; fi
  if [ -e "$FOLDER" ] && [ ! -d "$FOLDER" ]; then fail "$FOLDER is not a folder: move it away, then run \`$AGAIN\` again."; fi
  python=$(find_python)
  [ -w . ] && { [ ! -e "$FOLDER" ] || [ -w "$FOLDER" ]; } ||
    fail "$PWD cannot be written to: copy it to a place of your own, and run \`$AGAIN\` there."
  # A second call finds it made.
  if command -v flock > /dev/null; then
    exec 9< "${BASH_SOURCE[0]}"
    flock 9
    if is_current; then return; fi
  fi
  UV=$(command -v "${UV-uv}" 2> /dev/null || true)
  [ -z "${PYTHON:-}" ] || must="sys.version_info[1] != $(minor_of "$python")"
  trap remove_half_made EXIT
  if ! is_usable "$must"; then
    if [ -n "$(ls -A "$FOLDER" 2> /dev/null)" ]; then
      [ -e "$FOLDER/pyvenv.cfg" ] || [ -e "$HALF_MADE" ] ||
        fail "$FOLDER is there and holds no Python environment: move it away, then run \`$AGAIN\` again."
      echo "Removing $FOLDER, which is half-made, or made for another place or another Python …"
      rm -rf "$FOLDER"
    fi
    run_quietly begin_folder
    echo "Making $FOLDER with $("$python" --version)${UV:+ and uv} …"
    make_folder "$python"
  fi
  echo "Installing $NEEDED, once …"
  install
  for one in "${EACH[@]}"; do
    # Its own words are said by `fail`; the others are installed all the same.
    read -ra names <<< "$one"
    (ARGUMENTS=(-c "$CONSTRAINTS" "${names[@]}") && install) || echo "$one is left out."
  done
  run_quietly end_folder
}

case $ASKED in
  python) find_python ;;
  *) main ;;
esac
