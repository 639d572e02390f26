"""Whether nodes are dead, as their batch system says.

What belongs here: this question and its answer, text in, text out. What must not: asking it.
"""

import re
from collections.abc import Mapping, Sequence

__all__ = ["dead_nodes", "node_query"]

_DEAD = re.compile(r"down|powered_down", re.IGNORECASE)
"""States of a Slurm node on which nothing of ours runs any more. One that only does not respond is ``idle*`` or
``allocated*``; one that is failing, drained or about to be rebooted still runs what it has: all these prove nothing."""


def node_query(system: str, nodes: Sequence[str]) -> list[str] | None:
    """The command that asks for the states of these nodes; None for a system that would not know."""
    if system != "slurm":
        return None
    return ["sinfo", "--noheader", "--all", "--Node", f"--nodes={','.join(nodes)}", "--format=%N %T"]


def dead_nodes(system: str, answer: str) -> Mapping[str, str]:
    """Of the nodes in an answer those that are proven dead, with the state that says so."""
    if system != "slurm":
        return {}
    states = dict(line.split(None, 1) for line in answer.splitlines() if len(line.split()) == 2)
    return {node: state for node, state in states.items() if _DEAD.match(state)}
