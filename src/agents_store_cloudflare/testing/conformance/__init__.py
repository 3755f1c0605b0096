"""The conformance tests of each role. A backend's test is a subclass and a fixture."""
