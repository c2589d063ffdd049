"""The shipped article pipeline is killed in its third step and resumed: no model is asked again for an answer."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from executor.journal.kept_run import read_journal
from harness.store.journals import Journals
from tests.child_programs import Program
from tests.integration.calling import COMMAND, called, folder, the_result

__all__ = ["folder"]


class Service(ThreadingHTTPServer):
    """A model that answers with what it was asked, counts that, and is silent from the third question on."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.asked: Counter[str] = Counter()
        self.counting = threading.Lock()
        self.answers = 2
        self.goes_on = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Asked(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = str(words["messages"][-1]["content"])
        with self.server.counting:
            self.server.asked[prompt] += 1
            number = sum(self.server.asked.values())
        if number > self.server.answers:
            self.server.goes_on.wait(60)
        message = {"role": "assistant", "content": f"Answer to: {prompt[:40]}"}
        answer = {
            "choices": [{"message": message, "finish_reason": "stop", "index": 0}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def model_service() -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.goes_on.set()
            server.shutdown()
            thread.join()


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


@pytest.mark.parametrize("executor", ["threads", "asyncio"])
def test_the_article_pipeline_that_was_killed_in_its_third_step_asks_no_model_twice(
    folder: Path, executor: str
) -> None:
    with model_service() as service:
        # One worker: the first step is done, the second is done, the third asks and gets no answer.
        arguments = ["--llm", service.url, "--model", "m", "-e", executor, "-w", "1"]
        with Program([*COMMAND, "run", "article_pipeline", *arguments, "-q"], start_new_session=True) as killed:
            wait_for(lambda: sum(service.asked.values()) == 3 or killed.poll() is not None)
            journals = Journals(folder / "data/makespan/runs.sqlite")
            wait_for(lambda: len(read_journal(journals.paths()[0]).steps) == 2)
            killed.kill()
        before = Counter(service.asked)
        (unanswered,) = list(before)[2:]
        service.answers = 100
        service.goes_on.set()
        resumed = called("run", "--resume", "@last", "--json", "out.json", "--no-progress")
        assert resumed.exit_code == 0, resumed.output
    assert "of article_pipeline, which was cut off: 2 of 4 steps are reused." in resumed.stdout
    # What was answered was asked once; what was not, by each run.
    assert service.asked == {**dict.fromkeys(service.asked, 1), unanswered: 2}
    assert len(service.asked) == 4
    result = the_result((folder / "out.json").read_text(encoding="utf-8"))
    assert [step["status"] for step in result["steps"]] == ["succeeded"] * 4
    assert sum("reused_from" in step for step in result["steps"]) == 2
    earlier = result["resumed"]["attempts"]
    assert [attempt["outcome"] for attempt in earlier] == ["succeeded", "succeeded", "cancelled"]
    page = called("report", "@last", "-o", "report.html")
    assert page.exit_code == 0, page.output
    text = (folder / "report.html").read_text(encoding="utf-8")
    drawn = json.loads(re.search(r'<script[^>]*id="makespan-data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])
    (cell,) = drawn["cells"]
    # One axis: three attempts of the run that was killed, the seam, and the two of the one that went on.
    assert len(cell["attempts"]["step"]) == 5
    assert cell["seam"] == round(result["resumed"]["seconds"] * 1e9)
