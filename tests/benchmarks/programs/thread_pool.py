"""Twelve calls in threads behind a semaphore of 3, then one that uses them all; after: of 6."""

import contextvars
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import trace

AT_ONCE = {"before": 3, "after": 6}[sys.argv[1]]
tracer = trace.get_tracer("pool")
places = threading.Semaphore(AT_ONCE)


def fetch(seconds: float) -> None:
    with places, tracer.start_as_current_span("fetch"):
        time.sleep(seconds)


with tracer.start_as_current_span("report"), ThreadPoolExecutor(12) as threads:
    lengths = [0.3 + 0.06 * (number % 4) for number in range(12)]
    for future in [threads.submit(contextvars.copy_context().run, fetch, seconds) for seconds in lengths]:
        future.result()
    with tracer.start_as_current_span("summarise"):
        time.sleep(0.5)
