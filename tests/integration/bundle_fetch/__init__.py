"""Bundles filled from servers of our own with the layout of the official ones."""
