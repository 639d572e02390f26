"""What a keeper's lane holds, and the tasks that are to run there.

A job's program is made once for all its tasks on the same slots.

What belongs here: slots, cores, programs. What must not: when something runs, what becomes of it.
"""

import os
from pathlib import Path

from pilotfish.agent.bench import Task
from pilotfish.agent.environment import lane_environment
from pilotfish.agent.gpus import only_amd
from pilotfish.agent.launchers import Site, hosting
from pilotfish.agent.orders import Work
from pilotfish.agent.spawn import Program
from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec
from pilotfish.model.messages import Host
from pilotfish.model.quantities import Amount
from pilotfish.model.resources import Inventory, Slots

__all__ = ["Workplace"]


class Workplace:
    """One lane, of this process alone, which is bound to its cores.

    Args:
        site: of the keeper.
        inventory: of the node.
        scratch: the lane's folder for temporary files.

    """

    def __init__(self, site: Site, inventory: Inventory, scratch: Path) -> None:
        """Begin with nothing."""
        self._site, self._inventory, self._scratch = site, inventory, scratch
        self._environment = dict(os.environb)
        self.slots = Slots((), Amount(0), None)
        """That it holds."""
        self.cores: tuple[int, ...] = ()
        """That this process is bound to; none: it is not."""
        self._specs: dict[int, JobSpec] = {}
        """The job that came last, by its id."""
        self._program: Program | None = None
        """That job on these slots."""

    def tasks(self, work: Work) -> list[Task]:
        """What an agent wants run."""
        start, program = work.start, self._program
        if program is None or work.spec is not None or (start.slots, start.beside) != (self.slots, program.beside):
            self._specs = self._specs if work.spec is None else {start.job: work.spec}
            self._occupy(start.slots)
            spec, environment = self._specs[start.job], self._variables()
            program = Program(start.job, spec, environment, self.slots, site=self._site, beside=start.beside)
            self._program = program
        tasks = []
        for place, position in enumerate(range(start.lo, start.hi)):
            attempt = AttemptId(start.job, position, start.number, start.epoch)
            row, arguments = work.rows[place] if work.rows else (), start.calls[place] if start.calls else b""
            tasks.append(Task(attempt, row, program, arguments))
        return tasks

    def hosted(self, host: Host) -> Task:
        """What a launcher on another node wants run."""
        self._occupy(host.slots)
        spec, environment = hosting(host.command, host.environment), self._variables()
        program = Program(host.attempt.job, spec, environment, self.slots, site=self._site, hosted=True)
        return Task(host.attempt, (), program)

    def _variables(self) -> dict[bytes, bytes]:
        """The environment of attempts on these slots."""
        renumbered = len(self.slots.gpus) > 0 and only_amd()
        return lane_environment(self._environment, self._site.node, self.slots, self._scratch, renumbered=renumbered)

    def _occupy(self, slots: Slots) -> None:
        """Bind this process, and so the tasks to come, to its cores."""
        self.slots = slots
        self.cores = (slots.cores or self._inventory.cores) if self._inventory.pinned else ()
        if self.cores:
            os.sched_setaffinity(0, self.cores)
