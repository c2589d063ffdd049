"""A FastAPI service that httpx calls twelve times, at most 3 at once; after: 6. ``pool``: the limit is httpx's own."""

import asyncio
import socket
import sys
import threading
import time

import httpx
import uvicorn
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

AT_ONCE = {"before": 3, "after": 6}[sys.argv[1]]
IS_IN_HTTPX = sys.argv[2:] == ["pool"]
app = FastAPI()
FastAPIInstrumentor.instrument_app(app)


@app.get("/price/{item}")
async def price(item: int) -> dict[str, int]:
    await asyncio.sleep(0.3 + 0.1 * (item % 3))
    return {"price": item}


async def main(port: int) -> None:
    limits = httpx.Limits(max_connections=AT_ONCE if IS_IN_HTTPX else None)
    places = asyncio.Semaphore(12 if IS_IN_HTTPX else AT_ONCE)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:

        async def ask(item: int) -> None:
            async with places:
                (await client.get(f"http://127.0.0.1:{port}/price/{item}")).raise_for_status()

        with trace.get_tracer("shop").start_as_current_span("offer"):
            await asyncio.gather(*map(ask, range(12)))


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
thread = threading.Thread(target=server.run)
thread.start()
while not server.started:
    time.sleep(0.01)
asyncio.run(main(port))
server.should_exit = True
thread.join()
