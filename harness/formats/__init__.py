"""Readers of files, which know what stands where, and importers of the formats of other systems."""
