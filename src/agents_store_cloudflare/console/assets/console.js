// The pages work without this: it makes markdown pretty, and follows streams.
