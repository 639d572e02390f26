"""A campaign inside an allocation of Slurm whose nodes fail: how it is started, what is seen of it."""

from collections import Counter
from pathlib import Path

import msgspec

from tests.chaos.chaos import PILOTFISH, wait_for
from tests.clusters import SlurmCluster

TASK = """exec 9>locks/{index}; flock -n 9 || echo {index} >> twice
echo {index} $PILOTFISH_NODE >> began; %s; echo {index} >> ended"""
BY_WORD = "until [ -e go/{index} ] || [ -e go/all ]; do sleep 0.1; done"


class Allocated:
    """A campaign in a folder, and jobs of Slurm that run it on several nodes.

    Args:
        cluster: where jobs go.
        folder: of the campaign.
        tasks: how many.
        keys: more of the job.

    """

    def __init__(self, cluster: SlurmCluster, folder: Path, *, tasks: int, **keys: object) -> None:
        self.cluster, self.folder, self.tasks = cluster, folder, tasks
        for name in ("locks", "go"):
            (folder / name).mkdir()
        job = {"name": "a", "array": tasks, "command": TASK % BY_WORD, **keys}
        (folder / "c.json").write_bytes(msgspec.json.encode({"name": "c", "jobs": [job]}))
        self.number = ""

    def submit(self, *, nodes: int = 4, **env: str) -> None:
        """A job that runs it: on whole nodes, and the death of one is not the end of the others."""
        exports = ",".join(["ALL", *(f"{name}={text}" for name, text in env.items())])
        words = [f"--nodes={nodes}", "--exclusive", "--no-kill", f"--export={exports}", f"--chdir={self.folder}"]
        script = f"#!/bin/sh\nexec {PILOTFISH} run c.json 2>> said\n"
        self.number = self.cluster.run("sbatch", "--parsable", "--output=job.out", *words, stdin=script).strip()

    def let_go(self, *tasks: str) -> None:
        """These tasks may end; without any, all."""
        for task in tasks or ("all",):
            (self.folder / "go" / task).touch()

    @property
    def said(self) -> str:
        path = self.folder / "said"
        return path.read_text() if path.exists() else ""

    def wait_until_said(self, *texts: str, seconds: float = 60.0) -> None:
        wait_for(lambda: all(text in self.said for text in texts) or self.over, seconds)
        assert all(text in self.said for text in texts), self.said

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def last(self) -> dict[str, str]:
        """Tasks that have begun, with the node where they have last."""
        return dict(line.split() for line in self.lines("began"))

    def running(self, node: str) -> set[str]:
        """Tasks that began on a node last, and have not ended."""
        return {task for task, where in self.last().items() if where == node} - set(self.lines("ended"))

    def wait_for_tasks(self, *nodes: str, each: int = 4) -> None:
        wait_for(lambda: all(len(self.running(node)) == each for node in nodes) or self.over, 60)
        assert all(len(self.running(node)) == each for node in nodes), self.said

    @property
    def over(self) -> bool:
        return not self.cluster.run("squeue", "--noheader", "--all", f"--jobs={self.number}").strip()

    def ran_again(self) -> set[str]:
        begun = Counter(line.split()[0] for line in self.lines("began"))
        return {task for task, times in begun.items() if times > 1}

    def ends(self, task: str) -> list[str]:
        """How those attempts of a task have ended that its retries are counted by."""
        store = str(self.folder / ".pilotfish")
        shown = msgspec.json.decode(self.cluster.run(PILOTFISH, "show", f"a:{task}", "--json", "--store", store))
        return [attempt["outcome"] for attempt in shown["task"]["attempts"] if attempt["charged"]]

    def finish(self) -> None:
        """The run ends well: every task has succeeded, no two copies ran at once."""
        self.let_go()
        wait_for(lambda: self.over, 120)
        assert set(self.lines("ended")) == {str(index) for index in range(self.tasks)}, self.said
        assert f"{self.tasks} succeeded" in self.said, self.said
        assert self.lines("twice") == [], "two copies ran at once"
