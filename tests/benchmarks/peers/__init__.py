"""The same graphs on makespan and on its peers, side by side: ``make bench-peers``.

Rules of this package:
- Each peer runs in a process of its own, which ends before the next begins; rounds take the peers in turn.
- An adapter (``adapters/``) is some lines, written as the peer's documentation says. It imports the peer late.
- Before anything is measured, each adapter shows that it keeps the order of the edges and gives the right outputs.
- A peer that is not there, fails or does not end becomes a row that says so.
"""
