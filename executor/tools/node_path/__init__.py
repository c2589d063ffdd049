"""What a node's process finds beside the standard library: a folder of its path, and a package of this one.

Rules of this module:
- Its modules import each other by their bare names in a node, and nothing of the executor there.
"""
