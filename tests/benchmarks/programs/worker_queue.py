"""Two workers that take twelve jobs from a queue; after: four."""

import contextvars
import queue
import sys
import threading
import time

from opentelemetry import trace

WORKERS = {"before": 2, "after": 4}[sys.argv[1]]
tracer = trace.get_tracer("queue")
jobs: "queue.Queue[float]" = queue.Queue()


def work() -> None:
    while True:
        try:
            seconds = jobs.get_nowait()
        except queue.Empty:
            return
        with tracer.start_as_current_span("job"):
            time.sleep(seconds)


with tracer.start_as_current_span("batch"):
    with tracer.start_as_current_span("list jobs"):
        time.sleep(0.1)
    for number in range(12):
        jobs.put(0.2 + 0.06 * (number % 3))
    threads = [threading.Thread(target=contextvars.copy_context().run, args=(work,)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
