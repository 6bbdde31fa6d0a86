"""Splits of tables with groups, beside other splitters."""
