"""Three searches one after the other in asyncio, then one call; after: in one gather; faster: the last one is."""

import asyncio
import sys

from opentelemetry import trace

tracer = trace.get_tracer("gathers")


async def search(name: str, seconds: float) -> None:
    with tracer.start_as_current_span(name):
        await asyncio.gather(*(ask(f"{name} source", seconds * part) for part in (0.5, 0.8)))
        await ask(f"{name} summary", 0.2 * seconds)


async def ask(name: str, seconds: float) -> None:
    with tracer.start_as_current_span(name):
        await asyncio.sleep(seconds)


async def main() -> None:
    with tracer.start_as_current_span("research"):
        calls = [search(name, seconds) for name, seconds in (("web", 0.5), ("papers", 0.4), ("news", 0.3))]
        if sys.argv[1] == "after":
            await asyncio.gather(*calls)
        else:
            for call in calls:
                await call
        await ask("write", 0.3 if sys.argv[1] == "faster" else 0.6)


asyncio.run(main())
