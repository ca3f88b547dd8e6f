#!/usr/bin/env bash
# Builds the lab command when its sources are newer than it is, and runs it.
set -euo pipefail
lab_directory="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
lab_command="$lab_directory/.build/bin/lab"

sources_changed() {
  [ ! -x "$lab_command" ] && return 0
  [ -n "$(find "$lab_directory/go.mod" "$lab_directory"/*.go "$lab_directory/internal" -newer "$lab_command" -print -quit)" ]
}

if sources_changed; then
  mkdir -p "$lab_directory/.build/bin"
  # Two callers at once must not see a half-written program: build beside it, then rename.
  built="$lab_command.$$"
  (cd "$lab_directory" && GOTOOLCHAIN=local CGO_ENABLED=0 go build -buildvcs=false -trimpath -o "$built" .)
  mv "$built" "$lab_command"
fi
export BELLWETHER_LAB_SOURCE="$lab_directory"
exec "$lab_command" "$@"
