"""Every argument and option of every command, with its help: the tables, a file for each room of commands. ``common``
what several share · ``completion`` what a shell offers.

Rules of this room:
- It imports nothing but typer; completions import what they need when a shell asks.
- An option that two rooms of commands take stands once, in ``common`` or in the room that it is about.
- Whether a value makes sense is judged by the configuration and the scenario, which name the command line as its place.
"""
