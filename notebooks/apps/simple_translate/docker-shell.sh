#!/bin/sh
# Build the image and open a shell in a container of it; there:  python3 cli.py -t "Good morning"
#
# BASE=IMAGE and DOCKERFILE=FILE choose what is built; arguments go to `docker run`, for instance
#   ./docker-shell.sh --volume "$HOME/texts:/texts:ro"
set -eu
cd "$(dirname -- "$0")"

# Without a network: the course's own base, if the engine has it (`./lab base` and notebook 11)
[ -n "${BASE:-}" ] || BASE=$(docker image ls --format '{{.Repository}}:{{.Tag}}' labsupport/python-apertium | head -n 1)

docker build --tag simple_translate --file "${DOCKERFILE:-Dockerfile}" ${BASE:+--build-arg "BASE=$BASE"} .

[ -t 0 ] && tty=--tty || tty=
exec docker run --rm --interactive ${tty:+"$tty"} --entrypoint /bin/bash "$@" simple_translate
