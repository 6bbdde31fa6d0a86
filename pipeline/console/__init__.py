"""What all commands share: how they were called, how they end, and colour."""
