"""The command line. ``app`` its commands · ``requests`` what each is asked for, with the options · ``commands`` how the
two become one · ``guard`` makes exit codes of faults · a file each for what a command does.

Rules of this package:
- ``--help`` imports no heavy module: each command imports its own file when it is called.
- Every option's help is written once, in ``requests``; every exit status once, in :mod:`harness.exit_codes`.
"""

from harness.cli.app import app, main

__all__ = ["app", "main"]
