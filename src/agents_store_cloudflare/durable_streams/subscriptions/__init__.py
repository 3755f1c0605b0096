"""Subscriptions: durable cursors over streams that wake workers, by webhook or through a wake stream.

Their index lives in one reserved object of the streams' own namespace; while they are off, nothing of this runs.
"""
