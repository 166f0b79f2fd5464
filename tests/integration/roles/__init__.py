"""The roles, each on its own."""
