"""What a person sees while it runs. What must not stand here: anything that changes the queue."""
