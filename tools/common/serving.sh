# For verbs that need a server of their own; they source this.
#
# serve COMMAND…  starts it, and returns once it says where it serves. It sets `server`, the process, `address`, HOST:PORT, and `log`, the file
#                 to which it writes. What does not start ends the verb.
# stop_server     ends it, if there is one, and waits until it is gone.

serve() {
  local name=${0##*/} _
  log=$(mktemp) address=
  "$@" >"$log" 2>&1 &
  server=$!
  for _ in $(seq 600); do
    address=$(sed -nE 's/^(listening|serving) on (ipv[46]:)?([^ ]+).*/\3/p' "$log" | head -1)
    [ -z "$address" ] || return 0
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  cat "$log" >&2
  echo "$name: the server did not start" >&2
  exit 1
}

stop_server() {
  [ -z "${server:-}" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null || true; }
  rm -f "${log:-}"
  server= log=
}
