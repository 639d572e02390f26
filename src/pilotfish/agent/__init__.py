"""The process on each node, and its keepers: start, confine, watch and report attempts.

What belongs here: processes, cores, outputs, the node's journal. What must not: queues, decisions, the store.
"""
