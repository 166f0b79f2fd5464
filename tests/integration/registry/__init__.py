"""The registry on hosts of the laboratory."""
