"""Generators of random commands, one module per family; differential.py finds them by themselves.

A module holds COMMANDS, a list of (weight, function). A function gets a `Words` and returns one
command as a tuple of words, or a list of such tuples that belong together (a transaction). Words
are bytes, text or numbers. Keys come from one small pool that all families share, so that commands
meet values of other kinds. Times to live are far away or already past, never near: a race with the
clock is no difference.
"""
