"""A chat's turn by this package and by what people take instead, on the same runtime, behind the same network delays."""
