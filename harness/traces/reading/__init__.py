"""Reads trace files of any size and compression, and groups their spans into traces."""
