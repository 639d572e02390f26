"""Decisions: which task starts where and when, and why not. Pure, synchronous, deterministic.

What belongs here: state in memory and the rules over it; one door, ``engine.Scheduler.handle``.
What must not: clocks (time comes in as an argument), files, sockets, processes, randomness, asyncio.
"""
