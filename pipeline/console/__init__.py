"""Shared by all commands: the form in which they were called, how they end, and colour."""
