"""Shared by all commands: how they were called, how they end, and colour."""
