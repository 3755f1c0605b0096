"""The state store beside a plain model of it, for tests on the host and inside the Worker."""
