#!/usr/bin/env bash
# Of what the official image's script of this name does, that which compose.yaml and the tests ask for.
set -euo pipefail

if [[ $(id -u) == 0 ]]; then
  install -d -o postgres -g postgres "$(dirname "$PGDATA")"
  exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
fi

if [[ ${1-} == postgres && ! -s $PGDATA/PG_VERSION ]]; then
  read -ra words <<<"${POSTGRES_INITDB_ARGS-}"
  initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile <(echo "$POSTGRES_PASSWORD") --auth-local trust \
    --auth-host scram-sha-256 "${words[@]}"
  echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
  echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
  pg_ctl --pgdata "$PGDATA" --wait --options "-c listen_addresses=''" start
  createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl --pgdata "$PGDATA" --wait stop
fi
exec "$@"
