"""This process's connection to Ray: one at a time, as Ray has it, shared by the runs that go on at once.

Rules of this module:
- Ray of our own listens on loopback alone, has no dashboard, sends no usage statistics, and asks each caller for a
  token that only its own processes know. It is gone after the last run, with everything that still ran on it.
- A thread of its own starts Ray and stays until Ray ends: the kernel ends Ray's processes with the thread that started
  them. Outside of the main thread Ray leaves signal handlers alone.
- A Ray that runs already is first joined by a program of its own: an address where no Ray answers would hold this
  process for minutes.
- A Ray that this program has joined by itself is used as it is, and left.
- The environment variables that configure Ray for all this are put back.
- Ray keeps what it has read of the environment, the token too: it reads it again before it starts, joins, and after.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.backends.base import BackendError
from executor.tools.guard_program import MARK_VARIABLE, kill_marked
from executor.tools.process_guard import next_mark

START_SECONDS = 60
JOIN_SECONDS = 30
ANSWER_SECONDS = 5
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# Outputs that stay lie in shared memory, which is used as they come; what finds no place there goes to files. Ray
# needs 75 MB at least.
STORE_FOLDER = Path("/dev/shm")  # noqa: S108  # Ray looks there
LEAST_STORE_BYTES, MOST_STORE_BYTES = 80 * 1024 * 1024, 1024 * 1024 * 1024
STORE_SHARE = 4
# How many steps of all runs may be at work at once: the engine sees to each run's own number.
SLOTS = 1024
# After so long without its control store Ray ends the program that uses it, with whatever that has not stored.
NEVER_SECONDS = 10**8
# Its sockets have at most 107 bytes of path, and Ray adds about 70.
LONGEST_FOLDER_BYTES = 30
REMOVALS = 20
REMOVAL_PAUSE_SECONDS = 0.05
# Ray starts no worker in advance, and ends none that was idle for a moment.
LOCAL_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Named for other systems, it makes Ray take the loopback address for this machine's on any.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_num_workers_soft_limit": str(SLOTS),
    "RAY_worker_maximum_startup_concurrency": str(SLOTS),
    "RAY_gcs_rpc_server_reconnect_timeout_s": str(NEVER_SECONDS),
    # What steps started ends with their worker.
    "RAY_process_group_cleanup_enabled": "1",
    # Else Ray ends workers when the machine's memory is nearly used up, by any process.
    "RAY_memory_monitor_refresh_ms": "0",
    # Its processes write their titles over their environments otherwise, and the mark by which the guard finds them.
    "SPT_NOENV": "1",
    # The engine assigns devices.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
QUIET: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
JOINING = """
import json, logging, sys
import ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
except BaseException as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
else:
    print(json.dumps({"cores": ray.cluster_resources().get("CPU", 0)}))
"""


@dataclass(slots=True)
class Connection:
    """What runs share. ``address`` None: Ray of our own. ``files``: modules that its workers are given."""

    address: str | None
    files: tuple[str, ...] = ()
    users: int = 0
    # Set when no run uses it any more.
    unused: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    # Workers of runs that have ended, for the next one.
    resting: list[Any] = field(default_factory=list)

    @property
    def is_shared(self) -> bool:
        """Whether somebody else holds it, too."""
        return self.users > 1


_LOCK = threading.Lock()
_shared: list[Connection] = []


def connect(address: str | None, files: tuple[str, ...] = ()) -> Connection:
    """Start Ray, or join the one at ``address``; another run may have done so. ``files``: modules and folders that
    workers of a Ray that is joined are given; those of our own find what this program finds.

    Raises:
        BackendError: no Ray answers there, it does not start, or this process is connected to another one.
    """
    with _LOCK:
        if _shared:
            there = _shared[0]
            if there.address != address:
                raise BackendError(
                    f"ray: this process is connected to {_named(there.address)}, and cannot use "
                    f"{_named(address)} at the same time: end the other run first"
                )
            if there.files != files:
                raise BackendError("ray: a run that goes on in this process gave its workers other files: end it first")
        else:
            there = Connection(address, files)
            if not _is_joined():
                _begin(there)
            elif files:
                raise BackendError(
                    "ray: this program has joined Ray itself: give files to ray.init(runtime_env={'py_modules': […]})"
                )
            _shared.append(there)
        there.users += 1
        return there


def disconnect(connection: Connection) -> None:
    """This run does not need it any more. The last one ends it, and waits for that."""
    with _LOCK:
        connection.users -= 1
        if connection.users:
            return
        _shared.remove(connection)
        connection.unused.set()
        connection.ended.wait(START_SECONDS)


def cores_there(address: str) -> int:
    """The cores of a Ray that runs already, found out by joining it in a program of its own.

    Raises:
        BackendError: no Ray answers at the address, or it is of another version.
    """
    _must_answer(address)
    try:
        done = subprocess.run(  # noqa: S603  # a program written here
            [sys.executable, "-c", JOINING, address],
            capture_output=True,
            text=True,
            timeout=JOIN_SECONDS,
            check=False,
            env={**os.environ, **_joining_environment(address)},
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"ray: no Ray answers at {address}: nothing was heard within {JOIN_SECONDS} s") from None
    try:
        found: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        raise BackendError(f"ray: joining {address} failed: {last or f'exit status {done.returncode}'}") from None
    if "error" in found:
        raise BackendError(f"ray: no Ray can be joined at {address}: {found['error'].partition(chr(10))[0]}")
    return max(1, int(found["cores"]))


def _named(address: str | None) -> str:
    return "a Ray of its own" if address is None else f"the Ray at {address}"


def _is_joined() -> bool:
    """Whether this program has joined a Ray itself."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _begin(connection: Connection) -> None:
    """Have a thread start Ray, and stay with it."""
    up = threading.Event()
    failed: list[BaseException] = []
    thread = threading.Thread(target=_stay, args=(connection, up, failed), name="makespan-ray", daemon=True)
    thread.start()
    if not up.wait(START_SECONDS):
        raise BackendError(f"ray: {_named(connection.address)} was not there within {START_SECONDS} s")
    if failed:
        thread.join()
        error = failed[0]
        raise BackendError(f"ray: {_named(connection.address)} cannot be had: {error}") from error


def _stay(connection: Connection, up: threading.Event, failed: list[BaseException]) -> None:
    with ExitStack() as staying:
        try:
            if connection.address is None:
                stop = _started(staying)
            else:
                stop = _joined(staying, connection.address, connection.files)
        except BaseException as error:  # noqa: BLE001  # raised by the thread that waits
            failed.append(error)
            up.set()
            return
        up.set()
        connection.unused.wait()
        stop()
    connection.ended.set()


def _started(staying: ExitStack) -> Callable[[], None]:
    folder = _folder()
    try:
        # However this process ends, the guard ends what bears its mark: some of Ray's outlive it by minutes.
        mark = next_mark()
        _open[mark] = folder
        with _environment({**LOCAL_ENVIRONMENT, MARK_VARIABLE: mark}):
            import ray  # noqa: PLC0415  # with the environment, which it reads when it is imported

            _read_environment_again()
            staying.enter_context(_errors_on_stderr())
            with _quiet(), _loopback_alone(True):
                ray.init(
                    address="local", num_cpus=SLOTS, num_gpus=0, include_dashboard=False,
                    object_store_memory=_store_bytes(), _temp_dir=str(folder), **QUIET,
                )  # fmt: skip
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        _read_environment_again()
        raise

    def stop() -> None:
        ray.shutdown()
        # Where a part of it had ended, Ray leaves some behind.
        kill_marked(mark)
        _read_environment_again()
        _remove(folder)
        _open.pop(mark, None)

    return stop


# Of Ray that this process has started and not stopped: its mark, and its folder.
_open: dict[str, Path] = {}


@atexit.register
def _remove_what_is_open() -> None:
    """Where a program ends without closing: a second Ctrl-C, for one. Ray's own end comes before, as it is imported
    later.
    """
    for mark, folder in list(_open.items()):
        kill_marked(mark)
        _remove(folder)


def _store_bytes() -> int:
    """A quarter of the shared memory that is free, within limits: other programs, and other runs, need some too."""
    free = shutil.disk_usage(STORE_FOLDER).free if STORE_FOLDER.exists() else 0
    return max(LEAST_STORE_BYTES, min(MOST_STORE_BYTES, free // STORE_SHARE))


def _joined(staying: ExitStack, address: str, files: tuple[str, ...]) -> Callable[[], None]:
    words = _joining_environment(address)
    with _environment(words):
        import ray  # noqa: PLC0415  # it is imported when it is asked for

        _read_environment_again()
        staying.enter_context(_errors_on_stderr())
        with _quiet(), _loopback_alone("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" in words):
            ray.init(address=address, runtime_env={"py_modules": list(files)} if files else None, **QUIET)

    def stop() -> None:
        ray.shutdown()
        _read_environment_again()

    return stop


def _read_environment_again() -> None:
    """Have a Ray that is imported already follow the environment as it is now, and forget the token it has read."""
    library: Any = sys.modules.get("ray._raylet")
    if library is not None:
        library.Config.initialize("")
        library.AuthenticationTokenLoader.instance().reset_cache()


def _must_answer(address: str) -> None:
    """Raises BackendError where no server listens: Ray would try for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        raise BackendError(f"ray: no Ray answers at {address}: {error}") from error


def _joining_environment(address: str) -> dict[str, str]:
    """How to join it. By itself Ray takes 127.0.0.1 for this machine's address in the network, where one that listens
    on loopback alone is not found.
    """
    words = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": str(NEVER_SECONDS)}
    host, _, port = address.rpartition(":")
    if host in LOOPBACK and not _listens_outside(int(port)):
        words["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return words


def _listens_outside(port: int) -> bool:
    """Whether a server listens there at this machine's address in the network."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        # Nothing is sent: the kernel only chooses the address.
        outward.connect(("192.0.2.1", 9))
        with socket.create_connection((outward.getsockname()[0], port), ANSWER_SECONDS):
            return True
    return False


@contextmanager
def _loopback_alone(wanted: bool) -> Iterator[None]:  # of this module alone
    """What Ray has read of the environment when it was imported, for the time being."""
    constants: Any = sys.modules["ray._private.ray_constants"]
    before = constants.ENABLE_RAY_CLUSTER
    if wanted:
        constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _errors_on_stderr() -> Iterator[None]:
    """Ray writes to stdout what its cluster reports, such as a node that is lost: that is the result's alone."""
    module: Any = sys.modules["ray._private.worker"]
    before = module.print_to_stdstream
    module.print_to_stdstream = lambda data, **more: before({**data, "is_err": True}, **more)
    try:
        yield
    finally:
        module.print_to_stdstream = before


def _folder() -> Path:
    """A folder of its own for Ray's sockets and logs."""
    place = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="makespan-", dir=place if len(place) <= LONGEST_FOLDER_BYTES else "/tmp"))  # noqa: S108  # a new one, ours alone


def _remove(folder: Path) -> None:
    """Remove the folder; for a moment Ray's processes may still write there."""
    for _ in range(REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(REMOVAL_PAUSE_SECONDS)


@contextmanager
def _environment(words: Mapping[str, str]) -> Iterator[None]:
    """These environment variables, for the time being. What the user set stays, but for what makes it safe."""
    before = {name: os.environ.get(name) for name in words}
    os.environ.update(words)
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray says what it is about to do in its log, which is shown. Its import sets the level."""
    log = logging.getLogger("ray")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
