"""A scheduler of forty lines: worker threads that take what is ready from a list."""

import threading


class TinyScheduler:
    def __init__(self, workers):
        self.workers = workers
        self.ready = []
        self.running = 0
        self.changed = threading.Condition()

    def run(self, dependencies, work):
        self.work = work
        self.missing = {task: set(others) for task, others in dependencies.items()}
        self.children = {task: [] for task in dependencies}
        for task, others in dependencies.items():
            for other in others:
                self.children[other].append(task)
        self.ready = [task for task, others in self.missing.items() if not others]
        threads = [threading.Thread(target=self.worker) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def worker(self):
        while True:
            with self.changed:
                while not self.ready:
                    if not self.running:
                        self.changed.notify()
                        return
                    self.changed.wait()
                task = self.ready.pop(0)
                self.running += 1
            self.work(task)
            with self.changed:
                self.running -= 1
                for child in self.children[task]:
                    self.missing[child].discard(task)
                    if not self.missing[child]:
                        self.ready.append(child)
                self.changed.notify()
