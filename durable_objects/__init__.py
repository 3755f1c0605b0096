"""The Durable Object classes: thin shells around `streams` and `locks`. They import the Workers runtime."""
