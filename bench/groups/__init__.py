"""Splits of tables with groups, compared with other splitters."""
