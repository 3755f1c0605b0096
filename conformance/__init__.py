"""The published Durable Streams suite and clients, unmodified, against the example Worker: `make conformance`."""
