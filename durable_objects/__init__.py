"""The Durable Object classes: thin shells around the logic of streams, locks and homes. They import the Workers runtime."""
