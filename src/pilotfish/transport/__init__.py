"""What carries frames between manager, agents and clients.

What belongs here: connections, framing, numbering. What must not: what messages mean, decisions.
"""
