"""MPI programs: from what an attempt holds on its nodes to the command of a launcher, and of each rank.

The first node's keeper runs the launcher (``mpiexec``, ``srun``) as it runs any command. Open MPI and Hydra start
their daemon on the other nodes through the remote shell that they are told to use, which is ours
(:mod:`pilotfish.agent.remote`): a keeper there runs it, in the attempt's own lane. Nothing is asked of a batch
system or of ssh. Only ``srun`` starts its ranks by itself.

Each rank is bound to its share of its node's cores by a few words of shell, the same for all launchers: they number
cores in different ways, and none knows of cores that others have.

What belongs here: texts. What must not: processes; how a daemon comes to another node.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from shlex import join, quote

import msgspec

from pilotfish.agent.commands import SHELL
from pilotfish.agent.environment import NODES_OWN, encoded, gpu_variables, thread_counts
from pilotfish.formats.placeholders import escape
from pilotfish.model.attempts import AttemptId
from pilotfish.model.jobs import JobSpec, Launcher
from pilotfish.model.resources import Slots

__all__ = ["Launching", "Site", "forwarded", "hosting", "shares"]

_FOREIGN = ("SLURM_", "SRUN_", "PMI_", "PMIX_", "PMI2_", "OMPI_", "PRTE_", "HYDI_", "HYDRA_", "PALS_", "MPI_LOCAL")
"""How variables begin that tell a launcher of the step which it runs in: ours, not that of the ranks."""
_NEEDED = frozenset({"SLURM_CONF", "SLURM_JOBID", "SLURM_JOB_ID", "SLURM_JWT", "SLURM_MPI_TYPE"})
"""What of them ``srun`` needs to find the allocation, and what its user has chosen."""
_BATCH = frozenset({"PBS_ENVIRONMENT", "PBS_JOBID", "PBS_NODEFILE", "PE_HOSTFILE", "LSB_HOSTS", "LSB_MCPU_HOSTS"})
"""By which launchers recognise other batch systems, whose nodes they would take for theirs."""

_MPIEXEC = {
    Launcher.openmpi: (
        'exec mpiexec --hostfile "$PILOTFISH_HOSTFILE" -n "$PILOTFISH_RANKS" --map-by slot --bind-to none "$@"'
    ),
    Launcher.intelmpi: 'exec mpiexec.hydra -f "$PILOTFISH_HOSTFILE" -n "$PILOTFISH_RANKS" -genvnone "$@"',
    Launcher.srun: (
        'SLURM_HOSTFILE=$PILOTFISH_HOSTFILE exec srun --overlap --mem=0 --distribution=arbitrary --cpu-bind=none'
        ' --ntasks="$PILOTFISH_RANKS" --kill-on-bad-exit --input=0 "$@"'
    ),
}  # fmt: skip
"""What the shell runs on the first node; its arguments are those of one rank."""

_HOST: Mapping[Launcher, Callable[[str, int], str]] = {
    Launcher.openmpi: lambda name, count: f"{name} slots={count}\n",
    Launcher.intelmpi: lambda name, count: f"{name}:{count}\n",
    Launcher.srun: lambda name, count: f"{name}\n" * count,
}
"""What the host file says of a node with so many ranks."""

_PLACE = {
    Launcher.openmpi: "$OMPI_COMM_WORLD_LOCAL_RANK",
    Launcher.intelmpi: "$MPI_LOCALRANKID",
    Launcher.srun: "$SLURM_LOCALID",
}
"""Which of its node's ranks one is, from 0."""
_TELL = """
[ $? = 0 ] || exit $?
: >"$0/$SLURM_PROCID"
"""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What a keeper knows of the place where it starts programs."""

    node: str
    """The name of its node."""
    host: str
    """What its machine calls itself."""
    slurm: str = ""
    """What Slurm calls it; empty: it is none of Slurm's."""
    address: Path
    """The file that tells where the manager is, or the socket behind which it is."""
    ends: Path
    """Folder where ranks may tell that they have ended."""
    shared: bool
    """Whether other nodes see that folder."""
    pinned: bool
    """Whether the ids of cores are those of real ones."""
    root: bool = False
    """Whether we are the superuser: some launchers want to be told that this is meant."""


def shares(spec: JobSpec, held: Sequence[Slots]) -> tuple[int, ...]:
    """How many ranks each node has, in the order of what is held on them."""
    if spec.ranks is None:
        return tuple([max(1, len(slots.cores) // (spec.threads or 1)) for slots in held])
    each, more = divmod(spec.ranks, len(held))
    return tuple([each + (place < more) for place in range(len(held))])


def forwarded(environment: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    """Of a launcher's environment, as ``NAME=VALUE``, what its daemons on other nodes have too."""
    own = {name.encode() for name in NODES_OWN}
    return tuple(
        name + b"=" + text
        for name, text in environment.items()
        if name not in own and not name.startswith(tuple(prefix.encode() for prefix in _FOREIGN))
    )


def hosting(command: str, environment: Sequence[bytes]) -> JobSpec:
    """The job of a launcher's daemon: a command for the shell, with variables over those of its node."""
    variables = [os.fsdecode(one).partition("=") for one in environment]
    return JobSpec(
        name="launcher",
        command=(SHELL, "-c", escape(command)),
        directory="/",
        cwd="/",
        env={name: text for name, _, text in variables},
    )


class Launching:
    """How the attempts of one job on the same slots are started.

    Args:
        spec: the job; its launcher is one that has ranks.
        slots: on the first node.
        beside: the other nodes with what is held on them.
        site: of the keeper.
        folder: for the launcher's files, of this node.

    """

    def __init__(
        self, spec: JobSpec, slots: Slots, beside: Sequence[tuple[str, Slots]], site: Site, folder: Path
    ) -> None:
        """Reckon who runs where."""
        self._launcher, self._site, self._folder = spec.launcher, site, folder
        self._nodes = ((site.node, slots), *beside)
        self._shares = shares(spec, [held for _, held in self._nodes])
        self.ranks = sum(self._shares)
        """How many there are in all."""
        held = [len(slots.cores) // count for (_, slots), count in zip(self._nodes, self._shares, strict=True)]
        self._width = max(1, min(held))
        """Cores of each rank."""
        self._threads = spec.threads or self._width

    def environment(self, base: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """Of the launcher: without what it would take for its own, and with what it needs to know."""
        kept = {name: text for name, text in base.items() if not self._is_foreign(name.decode(errors="replace"))}
        ours = {
            "PILOTFISH_RANKS": str(self.ranks),
            "PILOTFISH_HOSTFILE": str(self._folder / "hosts"),
            **self._told(str(self._folder / "rsh")),
        }
        return {**kept, **thread_counts(self._threads), **encoded(ours)}

    def _is_foreign(self, name: str) -> bool:
        if self._launcher is Launcher.srun and name in _NEEDED:
            return False
        return name.startswith(_FOREIGN) or name in _BATCH

    def _told(self, shell: str) -> dict[str, str]:
        """What the launchers are told by variables; `shell` is the remote one."""
        if self._launcher is Launcher.openmpi:
            # Its daemons look for the program as well, on nodes that do not have this one's file.
            shell = f"{SHELL} {shell}"
            told = {
                # Of version 4, and of version 5, each of which knows its own only.
                "OMPI_MCA_plm_rsh_agent": shell,
                "OMPI_MCA_plm_rsh_no_tree_spawn": "1",
                "PRTE_MCA_plm_ssh_agent": shell,
                "PRTE_MCA_plm_ssh_no_tree_spawn": "1",
            }
            names = ("OMPI_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT") if self._site.root else ()
            return told | {name + end: "1" for name in names for end in ("", "_CONFIRM")}
        if self._launcher is Launcher.intelmpi:
            if len(self._nodes) == 1:
                return {"HYDRA_LAUNCHER": "fork", "I_MPI_HYDRA_BOOTSTRAP": "fork", "I_MPI_PIN": "off"}
            return {
                "HYDRA_LAUNCHER": "ssh",
                "HYDRA_LAUNCHER_EXEC": shell,
                "I_MPI_HYDRA_BOOTSTRAP": "ssh",
                "I_MPI_HYDRA_BOOTSTRAP_EXEC": shell,
                "I_MPI_PIN": "off",
            }
        return {}

    def files(self, attempt: AttemptId) -> dict[str, str]:
        """What must lie in the folder when the launcher starts, by name; ``rsh`` is a program. May raise ValueError."""
        alone = len(self._nodes) == 1 and self._launcher is not Launcher.srun
        names = ["localhost" if alone else self._host(node) for node, _ in self._nodes]
        hosts = [_HOST[self._launcher](name, count) for name, count in zip(names, self._shares, strict=True)]
        which = map(str, (attempt.job, attempt.position, attempt.number, attempt.epoch))
        words = [sys.executable, "-I", "-m", "pilotfish.agent.remote", str(self._site.address), self._site.node, *which]
        return {"hosts": "".join(hosts), "rsh": f'#!/bin/sh\nexec {join(words)} "$@"\n'}

    def _host(self, node: str) -> str:
        """What the launcher calls a node; `Site.node` may have more in its name than the machine knows of itself.

        To ``srun`` it is what Slurm calls it. Others must know their own, or they would look for it elsewhere; the
        rest they reach by our names. Raises ValueError where a node is of another allocation, which ``srun`` does
        not reach.
        """
        ours = self._site.slurm
        if self._launcher is not Launcher.srun:
            return self._site.host if node == self._site.node else node
        if not ours or not self._site.node.startswith(ours):
            return node
        allocation = self._site.node.removeprefix(ours)
        if not node.endswith(allocation):
            msg = f"srun starts ranks in one allocation, and {node} is not of that of {self._site.node}"
            raise ValueError(f"{msg}: use launcher openmpi or intelmpi")
        return node.removesuffix(allocation)

    def ends(self, attempt: AttemptId) -> Path | None:
        """The folder where each rank tells that it has succeeded; None where the launcher can be believed.

        Raises ValueError where there can be none.
        """
        # An srun that has lost a node, and the ranks on it, still exits with 0.
        if self._launcher is not Launcher.srun:
            return None
        if len(self._nodes) > 1 and not self._site.shared:
            msg = "srun on several nodes needs a campaign's folder that they share, where ranks tell of their end"
            raise ValueError(msg)
        return self._site.ends / f"{attempt.job}.{attempt.position}.{attempt.number}.{attempt.epoch}"

    def script(self) -> str:
        """What the shell of the first node runs; its arguments are those that `rank` returns."""
        return _MPIEXEC[self._launcher]

    def rank(self, command: Sequence[str], attempt: AttemptId) -> list[str]:
        """The argument vector of each rank, which runs `command` on its own cores."""
        told = self.ends(attempt)
        if told is None and not self._site.pinned:
            return list(command)
        run = '"$@"'
        lines = [self._by_node()] if self._launcher is Launcher.srun else []
        if self._site.pinned:
            lines.append(f"i={_PLACE[self._launcher]} w={self._width}")
            # Where there are none left for it, none are told, and `taskset` refuses: no rank is where it should not be.
            lines.append('c=$(echo "$PILOTFISH_CORE_IDS," | cut -d, -f$((i * w + 1))-$(((i + 1) * w)))')
            run = f'taskset -c "$c" {run}'
        lines += [f"exec {run}"] if told is None else [run, _TELL.strip()]
        return [SHELL, "-c", "\n".join(lines), "sh" if told is None else str(told), *command]

    def _by_node(self) -> str:
        """What ``srun`` gives all ranks as it is on the first node, put right on each."""
        arms = []
        for node, slots in self._nodes:
            own = {
                "PILOTFISH_NODE": node,
                "PILOTFISH_CORES": str(len(slots.cores)),
                "PILOTFISH_CORE_IDS": ",".join(map(str, slots.cores)),
                **(gpu_variables(slots.gpus, renumbered=False) if slots.gpus else {}),
            }
            said = " ".join(f"{name}={quote(text)}" for name, text in own.items())
            arms.append(f"{quote(self._host(node))}) export {said} ;;")
        lines = ["case $SLURMD_NODENAME in", *arms, "esac", '[ -d "$TMPDIR" ] || export TMPDIR=/tmp']
        return "\n".join(lines)
