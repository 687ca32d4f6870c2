#!/bin/sh
# Makes the secrets of compose.yaml once, in the folder "secrets" beside it; what is there already stays as it is.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
if [ ! -e secrets/pepper ]; then
  # Also beside secrets of an earlier version, which had none.
  openssl rand -base64 32 >secrets/pepper
  chmod 0444 secrets/pepper
fi
if [ -e secrets/encryption-keys ]; then
  echo "secrets/ has been made already; it stays as it is" >&2
  exit 0
fi
password=$(openssl rand -hex 24)
printf 'sk-%s\n' "$(openssl rand -hex 24)" >secrets/admin-key
printf 'sk-%s\n' "$(openssl rand -hex 24)" >secrets/api-key
openssl rand -hex 16 >secrets/grafana-password
printf 'requirepass %s\n' "$password" >secrets/valkey.conf
printf 'redis://:%s@valkey:6379/0\n' "$password" >secrets/redis-url
openssl rand -base64 32 >secrets/encryption-keys
# The users in the containers are others than you. The folder itself is closed to everybody else.
chmod 0444 secrets/*
