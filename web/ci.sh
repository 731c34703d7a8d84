#!/usr/bin/env bash
# The page's part of what guards main: its sources check, its unit tests pass, its built files are what the sources
# give, and a real browser works it. Needs Node 20.19 or newer and the npm registry; without them it says so and ends
# well, for Go alone builds Leo. For the browser it needs Chromium, which it tries to install with apt.
set -euo pipefail
cd "$(dirname "$0")"

skip() {
  echo "the page is not checked: $*"
  exit 0
}

node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 19 ? 0 : 1)' 2>/dev/null ||
  skip "Node 20.19 or newer is not here"
# Not npm ci: Vite has an optional dependency for Windows that not every registry has, so the lock file lacks it.
npm install --no-save --no-audit --no-fund --fetch-retries 0 >/tmp/leo-web-npm 2>&1 || {
  # The registry is out of reach, or the lock file and the manifest differ: the latter is a fault of ours.
  grep -q -e ENOTFOUND -e ECONNREFUSED -e ETIMEDOUT -e EAI_AGAIN /tmp/leo-web-npm && skip "the npm registry cannot be reached"
  cat /tmp/leo-web-npm
  exit 1
}

npm run --silent check
npm run --silent test
npm run --silent build
git diff --exit-code -- ../serve/page/dist || { echo "the built files differ: commit them"; exit 1; }
new=$(git ls-files --others --exclude-standard -- ../serve/page/dist)
[ -z "$new" ] || { echo "the build writes files that are not committed: $new"; exit 1; }

chromium=${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}
if [ -z "$chromium" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update && apt-get install -y chromium; } >/tmp/leo-web-apt 2>&1 || true
  chromium=$(command -v chromium || true)
fi
[ -n "$chromium" ] || skip "in a browser: Chromium is not here"
CHROMIUM=$chromium npm run --silent e2e
