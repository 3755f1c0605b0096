"""Subscriptions: durable cursors over streams. They wake workers by webhook or through a wake stream.

Their index is one reserved object in the namespace of the streams. When subscriptions are off, none of this code runs.
"""
