"""What makes the environments of this project and checks them on machines that have nothing: no part of the package.

``environment.sh`` makes them; ``bare_machine`` is ``make test-bare``, ``debian_python`` is ``make test-python``.

Rules: they run before anything is installed, so with the standard library alone, on any Python from 3.11 on.
"""
