"""Counts the cost of work: meters, rows of calls to objects, prices."""
