#!/bin/sh
# A Dask cluster on machines that are reached by ssh:  ./dask_hosts.sh start|stop SCHEDULER_HOST WORKER_HOST...
# Every machine has the same virtual environment at $PLACE, with makespan[dask] in the same version.
set -eu
PLACE=${PLACE:-/opt/makespan}
PORT=${PORT:-8786}
# Workers of one thread: steps that compute do not share an interpreter. -1: one a core; fewer where memory is short.
WORKERS_EACH=${WORKERS_EACH:--1}

usage() { echo "usage: $0 start|stop SCHEDULER_HOST WORKER_HOST..." >&2; exit 2; }
[ $# -ge 3 ] || usage
action=$1 scheduler=$2
shift 2

case $action in
start)
  # The port is open to whoever reaches it, and who reaches it can run code: keep it inside of a private network, or
  # use tls:// addresses with certificates (Dask: "TLS/SSL").
  ssh "$scheduler" "nohup $PLACE/bin/dask scheduler --host $scheduler --port $PORT --no-dashboard \
    >scheduler.log 2>&1 </dev/null & echo \$! >scheduler.pid"
  for worker in "$@"; do
    ssh "$worker" "nohup $PLACE/bin/dask worker tcp://$scheduler:$PORT --host $worker --nworkers $WORKERS_EACH \
      --nthreads 1 --memory-limit 0 --no-dashboard >worker.log 2>&1 </dev/null & echo \$! >worker.pid"
  done
  echo "makespan doctor --executor dask --backend-option address=tcp://$scheduler:$PORT"
  ;;
stop)
  for worker in "$@"; do ssh "$worker" 'kill "$(cat worker.pid)"' || true; done
  ssh "$scheduler" 'kill "$(cat scheduler.pid)"' || true
  ;;
*) usage ;;
esac
