"""How many tasks may be held at once, whatever is free."""

from pilotfish.scheduler.tasks import JobTasks

__all__ = ["room"]


def room(tasks: JobTasks) -> int:
    """How many more tasks of the job may be granted now; grants count, whether they have started or not."""
    most = tasks.job.spec.max_parallel
    return tasks.ready if most is None else max(0, min(tasks.ready, most - tasks.granted))
