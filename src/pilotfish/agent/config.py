"""What an agent is told when it is started, in a form that also travels on a command line.

What belongs here: these values and the paths that follow from them. What must not: reading or making anything.
"""

from pathlib import Path

from pilotfish.agent.inventory import Declared
from pilotfish.settings import Settings

__all__ = ["AgentConfig"]


class AgentConfig(Declared, frozen=True, kw_only=True):
    """Of the agent of one node, with what is declared of that."""

    node: str
    """Its name; part of file names."""
    campaign: str
    """Folder of the campaign, absolute; the manager's address and the outputs lie there."""
    folder: str
    """Of this node alone: lock, socket, journals; made, and removed at the end.

    Absolute, on a local disk, short enough for a socket's path.
    """
    scratch: str
    """For temporary files of tasks, which may be large; absolute. Made, and removed at the end."""
    at_least: int = 1
    """Cores of the largest request: with fewer some task could never run, so the agent waits for so many."""
    at_most: int | None = None
    """Cores that the tasks could use at the same time: no more are claimed. None: any number."""
    gpus_at_least: int = 0
    """GPUs likewise."""
    gpus_at_most: int | None = None
    """GPUs likewise."""
    settings: Settings = Settings()
    joins: tuple[str, ...] = ()
    """Files that tell how to join a manager on another machine; none: it is on this one, and its access file tells."""
    shared: bool = True
    """False: `campaign` is a folder of this node alone, and outputs go to the manager."""

    copies: str | None = None
    """Folder in shared memory for copies of values that lie on another machine; None: there is none."""

    @property
    def access(self) -> Path:
        """The file that tells where the manager is."""
        return Path(self.campaign, "access")

    @property
    def log(self) -> Path:
        """Where agent and keepers write what nobody else can be told."""
        return Path(self.campaign, f"agent-{self.node}.log" if self.joins else "agent.log")

    @property
    def outputs(self) -> Path:
        """Where outputs of tasks are kept."""
        return Path(self.campaign, "outputs")

    @property
    def lock(self) -> Path:
        """Held by the one agent of the node."""
        return Path(self.folder, "lock")

    @property
    def door(self) -> Path | None:
        """The socket behind which a manager on another machine is; None where it is on this one."""
        return Path(self.folder, "door") if self.joins else None

    @property
    def bulk(self) -> Path | None:
        """The socket of those who bring outputs to the manager's machine; None where they lie there already."""
        return None if self.shared else Path(self.folder, "door-bulk")

    @property
    def values(self) -> Path | None:
        """The socket behind which the values of sessions on another machine are; None where it is this one."""
        return Path(self.folder, "door-values") if self.joins else None

    @property
    def socket(self) -> Path:
        """Where keepers find their agent."""
        return Path(self.folder, "agent.sock")
