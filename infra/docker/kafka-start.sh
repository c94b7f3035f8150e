#!/bin/bash
# Starts the broker of the compose file under a cluster id that is made once per volume: object keys of the archive carry it, so a new log
# never writes into the folders of an old one. A volume that was formatted keeps its id.
set -euo pipefail
data=${KAFKA_LOG_DIRS:?}
id=
if [ -f "$data/meta.properties" ]; then id=$(sed -n 's/^cluster\.id=//p' "$data/meta.properties"); fi
# 16 random bytes as Kafka writes ids: URL-safe base64 without padding, and no dash in front, which tools take for an option.
while [ -z "$id" ] || [ "${id:0:1}" = - ]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='); done
export CLUSTER_ID=$id
exec /etc/kafka/docker/run
