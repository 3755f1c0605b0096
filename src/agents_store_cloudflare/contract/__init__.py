"""What the package promises: protocols, records, errors, JSON values, and the checks of arguments."""
