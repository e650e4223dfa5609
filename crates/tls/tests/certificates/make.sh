#!/usr/bin/env bash
# Makes the certificates that tests use: an authority, and two servers of it for localhost. The
# keys are public, and good for nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
days=36500
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
key ca.key
openssl req -x509 -new -key ca.key -subj "/CN=jusha tests" -days $days -out ca.pem
for name in server other; do
    key $name.key
    openssl req -new -key $name.key -subj "/CN=$name" -out $name.csr
    printf 'subjectAltName=DNS:localhost,DNS:exchange.test,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >$name.ext
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -days $days -extfile $name.ext -out $name.pem 2>/dev/null
    rm $name.csr $name.ext
done
rm -f ca.key ca.srl
