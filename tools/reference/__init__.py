"""Renders the reference pages from what the parts of the house say about themselves.

Every module here turns one kind of source into Markdown and writes nothing: :mod:`docs` decides where a page goes.
"""
