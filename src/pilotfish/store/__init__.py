"""The durable memory of a manager: changes in, one snapshot out.

What belongs here: how changes are made durable and found again. What must not: what they mean,
decisions, processes, the network.
"""
