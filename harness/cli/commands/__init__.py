"""The commands: the name, options and help of each. What a command does stands in its own file in ``harness.cli``.

Rules of this room:
- It imports nothing but typer and the tables of options, so that ``--help`` and completion answer at once; a command
  imports what it does when it is called.
- Every command returns an :class:`harness.exit_codes.ExitCode`; :func:`harness.cli.guard.guarded` makes the exit status
  of it, and of what goes wrong.
"""
