"""Batch systems: what they say of the allocation that we are in, and how allocations are asked for.

What belongs here: text in, text out, and the running of their commands. What must not: agents, what a manager decides.
"""
