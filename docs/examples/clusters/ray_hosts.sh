#!/bin/sh
# A Ray on machines that are reached by ssh:  ./ray_hosts.sh start|stop HEAD_HOST OTHER_HOST...
# Start the run on the head: with Ray the driver's machine is a part of the cluster.
# Every machine has the same virtual environment at $PLACE, with makespan[ray] in the same version.
set -eu
PLACE=${PLACE:-/opt/makespan}
PORT=${PORT:-6379}

usage() { echo "usage: $0 start|stop HEAD_HOST OTHER_HOST..." >&2; exit 2; }
[ $# -ge 2 ] || usage
action=$1 head=$2
shift 2

case $action in
start)
  # Who reaches the port can run code: a token keeps others out. Runs need the same two variables.
  : "${RAY_AUTH_TOKEN:?set it to a secret of your own: RAY_AUTH_TOKEN=\$(openssl rand -hex 32)}"
  words="RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0"
  # What is read from standard input does not show in the list of processes.
  echo "export $words; $PLACE/bin/ray start --head --port=$PORT --include-dashboard=false" | ssh "$head" sh
  for host in "$@"; do
    echo "export $words; $PLACE/bin/ray start --address=$head:$PORT" | ssh "$host" sh
  done
  echo "on $head: makespan doctor --executor ray --backend-option address=$head:$PORT"
  ;;
stop)
  for host in "$@" "$head"; do ssh "$host" "$PLACE/bin/ray stop" || true; done
  ;;
*) usage ;;
esac
