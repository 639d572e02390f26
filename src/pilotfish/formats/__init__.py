"""Files to specs: what users write, checked and completed, with errors that name the place.

What belongs here: parsing, checking, placeholders, fingerprints. What must not: the queue, the store, processes.
"""
