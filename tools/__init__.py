"""The local runtime: real Python Workers served from package registries alone. Not part of the published package."""
