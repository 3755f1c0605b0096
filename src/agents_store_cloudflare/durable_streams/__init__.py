"""The open Durable Streams HTTP protocol over the same streams: rules, wires, and the face that a gateway mounts."""
