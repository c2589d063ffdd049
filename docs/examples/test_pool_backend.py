from harness.testing.backends import BackendConformance
from pool_backend import PoolBackend


class TestPoolBackend(BackendConformance):
    backend = PoolBackend
    many_steps = 1000
    cannot = {
        "calls": "there is no way back from what was submitted",
        "replaces": "the pool has the threads that it has",
        "stops_functions": "a thread cannot be stopped",
        "stops_coroutines": "a coroutine runs to its end in its thread",
        "survives_death": "its threads are part of the program",
    }
