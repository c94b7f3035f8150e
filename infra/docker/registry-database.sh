#!/bin/sh
# Runs once, when the database's volume is empty: the registry keeps its schemas in a database and a role of its own.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$REGISTRY_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE registry LOGIN PASSWORD :'password';
CREATE DATABASE registry OWNER registry;
SQL
