"""A backend of one's own: the steps run on a pool of the standard library."""

from concurrent.futures import ThreadPoolExecutor

from executor.backends.submit import SubmitBackend


class PoolBackend(SubmitBackend):
    name = "pool"
    summary = "a ThreadPoolExecutor"

    def make_executor(self):
        return ThreadPoolExecutor(self.capacity)
