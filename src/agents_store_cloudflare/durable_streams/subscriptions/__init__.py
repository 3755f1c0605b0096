"""Subscriptions: durable cursors over streams that wake workers, by webhook or through a wake stream.

Their index is one reserved object of the streams' own namespace. While subscriptions are off, none of this code runs.
"""
