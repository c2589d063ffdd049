"""Records the spans of any program: a receiver on loopback, the variables that programs read, and the program itself.

Rules of this package:
- The program is not changed: its terminal, its signals and its exit status stay its own.
- Loopback alone. What comes is bounded, kept in a folder of this user, and gone with it.
- What is wrong with what came is counted and said, and never harms the program.
"""
