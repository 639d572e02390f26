"""The Python API: sessions, executors, and the algebra of what a call asks for.

What belongs here: what a user's Python program imports. What must not: decisions, the store, processes on nodes.
"""
