"""Calls of Python functions: how functions, arguments, results and exceptions travel, and how they run.

What belongs here: their form as bytes, large values by reference, running a call. What must not: which call runs where
and when, what carries the bytes, the queue.
"""
