#!/bin/bash
# Starts the broker of the compose file with a cluster id that is generated once per volume. Object keys of the archive contain the id, so
# a new log never writes into the folders of an old one. A formatted volume keeps its id.
set -euo pipefail
data=${KAFKA_LOG_DIRS:?}
id=
if [ -f "$data/meta.properties" ]; then id=$(sed -n 's/^cluster\.id=//p' "$data/meta.properties"); fi
# 16 random bytes in Kafka's form: URL-safe base64 without padding, and without a leading dash, which tools read as an option.
while [ -z "$id" ] || [ "${id:0:1}" = - ]; do id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '='); done
export CLUSTER_ID=$id
exec /etc/kafka/docker/run
