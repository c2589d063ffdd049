"""Imports the workflow files of the system that the project began from."""
