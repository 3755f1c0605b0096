"""Counting what work costs: meters, rows of calls to objects, prices."""
