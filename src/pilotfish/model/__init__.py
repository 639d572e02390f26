"""The words of pilotfish as frozen values: what a job, a request, a state, a message *is*.

What belongs here: immutable values, their parsing and printing, the one table of states.
What must not: clocks, files, processes, sockets, decisions.
"""
