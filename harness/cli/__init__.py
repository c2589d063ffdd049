"""The command line. ``app`` all of it · ``commands`` the commands by name · ``options`` their options · ``guard`` makes
exit codes of faults · a file each for what a command does.

Rules of this room:
- ``--help`` imports no heavy module: each command imports its own file when it is called.
- Every option's help stands once, in ``options``; every exit status once, in :mod:`harness.exit_codes`.
"""

from harness.cli.app import app, main

__all__ = ["app", "main"]
