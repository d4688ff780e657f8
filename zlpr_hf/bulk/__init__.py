"""Labelling files of any length: rows in, rows out, in parts that survive a kill."""
