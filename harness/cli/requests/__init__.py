"""What each command is asked for: a frozen dataclass, whose fields carry their option and its help. ``shared`` what
several commands take · ``completion`` what a shell offers.

Rules of this package:
- It imports nothing but typer; completions import what they need when a shell asks.
- No ``from __future__ import annotations``: options are read from the annotations at each start, and text would have to
  be evaluated first.
- Whether a value makes sense is judged by the configuration and the scenario, which name the command line as its place.
"""
