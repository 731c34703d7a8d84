#!/bin/sh
# Drives a server with the clients that people use, and reports what does not hold.
#
#   LEO=/tmp/leo serve/clients/run.sh [wire|openai|ollama|langchain|lm_eval|schemathesis|node|overload]...
#
# starts LEO on the embedded model (further arguments of leo serve in SERVE_ARGS), or asks the server at BASE_URL. The
# clients are installed once into CLIENTS (a folder outside the repository), which needs PyPI and npm.
set -u
here=$(cd "$(dirname "$0")" && pwd)
CLIENTS=${CLIENTS:-${TMPDIR:-/tmp}/leo-clients}
python=$CLIENTS/venv/bin/python
export PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 TQDM_DISABLE=1 HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_VERBOSITY=error
which=${*:-wire openai ollama langchain lm_eval schemathesis node overload}

if ! cmp -s "$here/requirements.txt" "$CLIENTS/requirements.txt"; then
  mkdir -p "$CLIENTS" && python3 -m venv "$CLIENTS/venv" &&
    "$CLIENTS/venv/bin/pip" install -q -r "$here/requirements.txt" && cp "$here/requirements.txt" "$CLIENTS/" || exit 2
fi
case " $which " in *" node "*)
  if ! cmp -s "$here/package.json" "$CLIENTS/package.json"; then
    cp "$here/package.json" "$CLIENTS/" && (cd "$CLIENTS" && npm install --silent --no-audit --no-fund) || exit 2
  fi ;;
esac

server=
log=$CLIENTS/server.log
trap 'stop' EXIT

# start ARGUMENTS... starts LEO on the embedded model and waits until it says where it listens.
start() {
  : >"$log"
  "${LEO:?is the program, or BASE_URL a server}" serve --listen 127.0.0.1:0 "$@" 2>"$log" &
  server=$!
  for _ in $(seq 100); do
    BASE_URL=$(sed -n 's/^listening on \(http:.*\)/\1/p' "$log" | head -n 1)
    [ -n "$BASE_URL" ] && break
    kill -0 $server 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$BASE_URL" ] || { cat "$log"; exit 2; }
  export BASE_URL
}

stop() {
  [ -z "$server" ] || kill $server 2>/dev/null
  server=
}

given=${BASE_URL:-}
# shellcheck disable=SC2086 # several arguments
[ -n "$given" ] || start ${SERVE_ARGS:-}
export BASE_URL LEO
echo "server $BASE_URL"

failed=
for name in $which; do
  echo "== $name"
  case $name in
  wire) "$python" "$here/wire.py" ;;
  openai | ollama | langchain | lm_eval) "$python" "$here/${name}_client.py" ;;
  schemathesis) # what one field demands of another is not in the document: valid data may be refused
    # It leaves folders where it runs.
    (cd "$CLIENTS" && venv/bin/schemathesis run "$BASE_URL/openapi.json" --max-examples "${EXAMPLES:-20}" --checks all \
      --exclude-checks ignored_auth,positive_data_acceptance --continue-on-failure --request-timeout 120 --seed 1) ;;
  overload)
    [ -z "$given" ] || { echo "skip: it needs a server of its own"; continue; }
    stop
    start --parallel 1 --queue 2 && "$python" "$here/overload.py" ;;
  node) cp "$here/openai_client.mjs" "$CLIENTS/" && node "$CLIENTS/openai_client.mjs" ;;
  *) echo "no client $name"; false ;;
  esac || failed="$failed $name"
  if [ -n "$server" ] && ! kill -0 $server 2>/dev/null; then
    echo "the server has ended:"
    tail -n 30 "$log"
    exit 1
  fi
done
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
