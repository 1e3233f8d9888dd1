"""Where the nodes of one flow stand: in layers from the start downwards, with as few crossings as a few sweeps find.

The method is that of Sugiyama, Tagawa and Toda (1981): turn the edges that lead back, put each node below its
predecessors, let long edges pass through the layers between, order each layer by the middle of its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Spot", "backward", "place"]

_GAP_X, _GAP_Y = 40, 68
"""Pixels between nodes of a layer, and between layers: an edge's label finds room there."""

_SWEEPS = 8


@dataclass(slots=True, eq=False)
class Spot:
    """A place in a layer: a node, or a point of an edge that passes through.

    Args:
        width: pixels.
        height: pixels.
        node: whether it is a node.
    """

    width: float
    height: float
    node: bool = True
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    above: list[Spot] = field(default_factory=list)
    below: list[Spot] = field(default_factory=list)

    @property
    def middle(self) -> float:
        """Where the middle of it stands."""
        return self.x + self.width / 2


def backward(starts: Iterable[str], edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the edges that lead back to where a walk has come from; without them there is no cycle.

    Args:
        starts: where to walk from, in order: first of all the flow's start.
        edges: (from, to).
    """
    successors: dict[str, list[str]] = {}
    for source, target in edges:
        successors.setdefault(source, []).append(target)
    found: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in starts:
        if start in done:
            continue
        trail = {start}
        stack = [(start, iter(successors.get(start, ())))]
        while stack:
            node, rest = stack[-1]
            for target in rest:
                if target in trail:
                    found.add((node, target))
                elif target not in done:
                    trail.add(target)
                    stack.append((target, iter(successors.get(target, ()))))
                    break
            else:
                stack.pop()
                trail.discard(node)
                done.add(node)
    return found


def place(spots: dict[str, Spot], edges: Sequence[tuple[str, str]]) -> dict[tuple[str, str], list[Spot]]:
    """Give every spot its layer and its place.

    Args:
        spots: the nodes by id, in the order in which they should stand where nothing else decides.
        edges: (from, to), without cycles and without loops.

    Returns:
        The points between its ends that each edge passes through.
    """
    unique = list(dict.fromkeys(edges))
    _put_in_layers(spots, unique)
    layers: list[list[Spot]] = [[] for _ in range(1 + max((spot.layer for spot in spots.values()), default=-1))]
    for spot in spots.values():
        layers[spot.layer].append(spot)
    routes = {edge: _route(spots[edge[0]], spots[edge[1]], layers) for edge in unique}
    for sweep in range(_SWEEPS):
        _order(layers if sweep % 2 == 0 else layers[::-1], upwards=sweep % 2 == 1)
    _set_coordinates(layers)
    return routes


def _put_in_layers(spots: dict[str, Spot], edges: Sequence[tuple[str, str]]) -> None:
    # The longest way from a node without predecessors: every edge then leads down.
    targets: dict[str, list[str]] = {}
    waiting = dict.fromkeys(spots, 0)
    for source, target in edges:
        targets.setdefault(source, []).append(target)
        waiting[target] += 1
    ready = [node for node, number in waiting.items() if not number]
    while ready:
        node = ready.pop()
        for target in targets.get(node, ()):
            spots[target].layer = max(spots[target].layer, spots[node].layer + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)


def _route(source: Spot, target: Spot, layers: list[list[Spot]]) -> list[Spot]:
    between = []
    last = source
    for layer in range(source.layer + 1, target.layer):
        point = Spot(12, 0, node=False, layer=layer)
        layers[layer].append(point)
        between.append(point)
        last.below.append(point)
        point.above.append(last)
        last = point
    last.below.append(target)
    target.above.append(last)
    return between


def _order(layers: list[list[Spot]], *, upwards: bool) -> None:
    for layer in layers:
        for number, spot in enumerate(layer):
            spot.x = number
    for layer in layers[1:]:
        middles = {}
        for spot in layer:
            neighbours = spot.below if upwards else spot.above
            middles[id(spot)] = sum(other.x for other in neighbours) / len(neighbours) if neighbours else spot.x
        layer.sort(key=lambda spot: middles[id(spot)])
        for number, spot in enumerate(layer):
            spot.x = number


def _set_coordinates(layers: list[list[Spot]]) -> None:
    top = 0.0
    for layer in layers:
        left = 0.0
        height = max(spot.height for spot in layer)
        for spot in layer:
            spot.x, spot.y = left, top + (height - spot.height) / 2
            left += spot.width + _GAP_X
        top += height + _GAP_Y
    for sweep in range(_SWEEPS):
        downwards = sweep % 2 == 0
        for layer in layers if downwards else layers[::-1]:
            wishes = []
            for spot in layer:
                neighbours = (spot.above if downwards else spot.below) or spot.above or spot.below
                wishes.append(_mean([other.middle for other in neighbours], spot.middle))
            _settle(layer, wishes)
    least = min(spot.x for layer in layers for spot in layer)
    for layer in layers:
        for spot in layer:
            spot.x -= least


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _settle(layer: list[Spot], wishes: list[float]) -> None:
    # Each as near to its wish as those beside it allow; a group that collides shares the difference.
    groups: list[tuple[list[int], float]] = []  # (places in the layer, the group's left edge)
    for place_, (spot, wish) in enumerate(zip(layer, wishes, strict=True)):
        members, left = [place_], wish - spot.width / 2
        while groups and groups[-1][1] + _breadth(layer, groups[-1][0]) + _GAP_X > left:
            before, _ = groups.pop()
            members = before + members
            left = _best_left(layer, wishes, members)
        groups.append((members, left))
    for members, left in groups:
        at = left
        for number in members:
            layer[number].x = at
            at += layer[number].width + _GAP_X


def _breadth(layer: list[Spot], members: list[int]) -> float:
    return sum(layer[number].width for number in members) + _GAP_X * (len(members) - 1)


def _best_left(layer: list[Spot], wishes: list[float], members: list[int]) -> float:
    total = offset = 0.0
    for number in members:
        total += wishes[number] - layer[number].width / 2 - offset
        offset += layer[number].width + _GAP_X
    return total / len(members)
