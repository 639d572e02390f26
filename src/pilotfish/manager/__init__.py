"""The process that owns the queue: takes submissions, records, asks the scheduler, tells agents.

What belongs here: the one loop and what it connects. What must not: decisions (scheduler),
durability (store), carrying (transport), processes of tasks (agent), looks (ui, cli).
"""
