"""Union-find over records that know their parent: connected pixels, runs and regions, joined."""

from jingwei.system.compiled import compiled


@compiled
def find(nodes, a):
    """The root of a member."""
    while nodes[a]["parent"] != a:
        nodes[a]["parent"] = nodes[nodes[a]["parent"]]["parent"]
        a = nodes[a]["parent"]
    return a
