#!/bin/sh
# Creates the registry's own role and database. Postgres runs it once, when the volume is empty.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$REGISTRY_PASSWORD" --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE registry LOGIN PASSWORD :'password';
CREATE DATABASE registry OWNER registry;
SQL
