#!/bin/bash
# Checks the broker by one ApiVersions request, without a JVM. The broker answers when it serves requests. Exit code 0: healthy.
set -euo pipefail
exec 3<>/dev/tcp/127.0.0.1/29092
# size 15, key 18 (ApiVersions), version 0, correlation id 7, client id "check"
printf '\x00\x00\x00\x0f\x00\x12\x00\x00\x00\x00\x00\x07\x00\x05check' >&3
# size, correlation id, error code 0
answer=$(timeout 3 head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n')
[ "${answer:8}" = 000000070000 ]
