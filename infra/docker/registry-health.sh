#!/bin/bash
# Checks at the management port whether the registry is ready. If its first database connection fails, the registry answers but never
# becomes ready. After 45 seconds of such answers this script stops it, and the engine starts it again.
set -uo pipefail
patience=45
mark=/tmp/registry-not-ready
code=$(
  exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/9000 || exit
  printf 'GET /health/ready HTTP/1.0\r\n\r\n' >&3
  read -r -t 3 _ code _ <&3 && printf %s "$code"
)
if [ "$code" = 200 ] || [ -z "$code" ]; then
  rm -f "$mark"
  [ "$code" = 200 ]
  exit
fi
[ -f "$mark" ] || date +%s >"$mark"
if [ $(($(date +%s) - $(cat "$mark"))) -ge $patience ]; then
  rm -f "$mark"
  echo "not ready for $patience s (answers $code): ended, to be started again"
  kill 1
fi
exit 1
