"""`pilotfish` whose transport drops, repeats and delays frames: ``python -m tests.chaos.lossy SEED run FILE``."""

import random
import sys
from collections import Counter

from pilotfish.cli.main import main
from pilotfish.model.messages import Frame
from pilotfish.transport.local import LocalConnection

REPEATS = {"send": 1, "drop": 0, "repeat": 2}


def lose_frames(seed: int) -> Counter[str]:
    """Make the transport lossy, in agents that are forked later too; counts what became of this process's frames."""
    chance = random.Random(seed)
    kept: dict[LocalConnection, Frame] = {}
    fates: Counter[str] = Counter()
    faithful = LocalConnection.send

    def send(connection: LocalConnection, frame: Frame) -> None:
        fate = chance.choice(["send", "send", "send", "drop", "repeat", "delay"])
        fates[fate] += 1
        late = kept.pop(connection, None)
        for _ in range(REPEATS.get(fate, 0)):
            faithful(connection, frame)
        if fate == "delay":
            kept[connection] = frame
        if late is not None:
            faithful(connection, late)

    setattr(LocalConnection, "send", send)  # noqa: B010 - a plain assignment to a method is a type error
    return fates


if __name__ == "__main__":
    fates = lose_frames(int(sys.argv[1]))
    code = main(sys.argv[2:])
    sys.stdout.write(" ".join(sorted(fates)))
    sys.exit(code)
