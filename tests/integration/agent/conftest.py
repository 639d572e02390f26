"""Nodes with real agents, for every test of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.agent.agent_node import Node


@pytest.fixture
def make_node() -> Iterator[Callable[[Path], Node]]:
    """Nodes in folders of their own."""
    nodes: list[Node] = []

    def make(folder: Path) -> Node:
        nodes.append(Node(folder))
        return nodes[-1]

    yield make
    for node in nodes:
        node.close()


@pytest.fixture
def node(tmp_path: Path, make_node: Callable[[Path], Node]) -> Node:
    return make_node(tmp_path)
