"""The picture of a run's graph: where its nodes, its boxes for nested flows and its edges are drawn."""

from __future__ import annotations

from typing import Any

from pocketflow_tracing.records import Json

from .layers import Spot, backward, place

__all__ = ["lay_out"]

_LETTER, _HEIGHT, _LEAST, _MOST = 8.6, 56, 176, 340
_PAD, _HEAD = 20, 48
"""Pixels around what a box holds, and above it for the box's name."""

_DEEPEST = 8
"""Boxes within boxes that are drawn; deeper ones stand as nodes."""

_LANE = 26
"""Pixels between edges that lead back, beside the nodes."""


def lay_out(graph: Json) -> list[dict[str, Any]]:
    """Return the pictures of the flows that a run ran by themselves, each with its nested flows in it.

    Args:
        graph: as the run's record has it; None and what is not understood have no picture.

    Returns:
        [{"id", "name", "width", "height", "nodes": [{"id", "name", "kind", "x", "y", "width", "height", "inner"}],
        "edges": [{"from", "to", "action", "points": [[x, y]], "label": [x, y], "back"}]}]; `inner` is the picture of a
        nested flow, placed in its box by its own "x" and "y". The first node is the one that the flow starts with.
    """
    flows = {flow["id"]: flow for flow in (graph or {}).get("flows") or () if isinstance(flow, dict)}
    nested = {node["id"] for flow in flows.values() for node in flow["nodes"] if node["id"] != flow["id"]}
    return [_picture(flow, flows, 0) for name, flow in flows.items() if name not in nested and flow["nodes"]]


def _picture(flow: dict[str, Any], flows: dict[str, Any], depth: int) -> dict[str, Any]:
    spots: dict[str, Spot] = {}
    drawn: dict[str, dict[str, Any]] = {}
    nodes = sorted(flow["nodes"], key=lambda node: node["id"] != flow.get("start"))
    for node in nodes:
        inner = flows.get(node["id"]) if node["id"] != flow["id"] and depth < _DEEPEST else None
        box = _picture(inner, flows, depth + 1) if inner is not None and inner["nodes"] else None
        width, height = _size(node["name"], box)
        spots[node["id"]] = Spot(width, height)
        drawn[node["id"]] = {"id": node["id"], "name": node["name"], "kind": node["kind"], "inner": box}
        if box is not None:
            box.update(x=(width - box["width"]) / 2, y=_HEAD)
    edges = [edge for edge in flow["edges"] if edge["from"] in spots and edge["to"] in spots]
    pairs = [(edge["from"], edge["to"]) for edge in edges]
    back = backward(spots, pairs)
    routes = place(spots, [pair for pair in pairs if pair not in back])
    for name, spot in spots.items():
        drawn[name] |= {"x": spot.x, "y": spot.y, "width": spot.width, "height": spot.height}
    passing = [spot for way in routes.values() for spot in way]
    lines = _edges(edges, spots, back, routes, passing)
    points = [point for line in lines for point in line["points"]]
    labels = [line["label"][0] + _label_width(line["action"]) / 2 for line in lines]
    width = max([*(spot.x + spot.width for spot in spots.values()), *(x for x, _ in points), *labels])
    lowest = min(
        [0.0, *(line["label"][0] - _label_width(line["action"]) / 2 for line in lines), *(x for x, _ in points)]
    )
    height = max([spot.y + spot.height for spot in spots.values()] + [y for _, y in points])
    picture = {"id": flow["id"], "name": flow["name"], "width": width, "height": height}
    picture |= {"nodes": list(drawn.values()), "edges": lines}
    return _moved(picture, -lowest)


def _size(name: str, box: dict[str, Any] | None) -> tuple[float, float]:
    width = min(_MOST, max(_LEAST, len(name) * _LETTER + 48))
    if box is None:
        return width, _HEIGHT
    return max(width, box["width"] + 2 * _PAD), box["height"] + _HEAD + _PAD


def _label_width(action: str) -> float:
    return min(len(action), 24) * 6.6 + 36


def _edges(
    edges: list[dict[str, str]],
    spots: dict[str, Spot],
    back: set[tuple[str, str]],
    routes: dict[tuple[str, str], list[Spot]],
    passing: list[Spot],
) -> list[dict[str, Any]]:
    leaving, arriving = _ports(edges, spots, back, routes)
    everything = [*spots.values(), *passing]
    taken = {-1: 0.0, 1: 0.0}  # pixels that edges back have taken on the left and on the right
    lines = []
    for number, edge in enumerate(edges):
        pair = (edge["from"], edge["to"])
        source, target = spots[pair[0]], spots[pair[1]]
        if pair in back:
            side = _freer_side(source, target, everything)
            points = _around(source, target, side, everything, taken[side])
            label = [points[1][0], (points[1][1] + points[2][1]) / 2]
            taken[side] += max(_LANE, _label_width(edge["action"]) * 0.75)
        else:
            points = [[leaving[number], source.y + source.height]]
            points += [[spot.middle, spot.y] for spot in routes[pair]]
            points.append([arriving[number], target.y])
            # Beside the node that decided, where edges of one node have parted.
            label = [points[0][0] * 0.55 + points[1][0] * 0.45, points[0][1] * 0.55 + points[1][1] * 0.45]
        line = {"from": pair[0], "to": pair[1], "action": edge["action"], "points": points, "label": label}
        lines.append({**line, "back": pair in back})
    return lines


def _freer_side(source: Spot, target: Spot, everything: list[Spot]) -> int:
    # The side on which fewer nodes stand in the way out and in; -1 is the left.
    rows = [[spot for spot in everything if spot.layer == end.layer and spot is not end] for end in (source, target)]
    lefts = sum(spot.x < end.x for row, end in zip(rows, (source, target), strict=True) for spot in row)
    rights = sum(map(len, rows)) - lefts
    return -1 if lefts < rights else 1


def _around(source: Spot, target: Spot, side: int, everything: list[Spot], taken: float) -> list[list[float]]:
    beside = [spot for spot in everything if target.layer <= spot.layer <= source.layer]
    out, into = source.y + min(source.height * 0.62, 36), target.y + min(target.height * 0.38, 22)
    if side == 1:
        lane = max(spot.x + spot.width for spot in beside) + _LANE + taken
        ends = source.x + source.width, target.x + target.width
    else:
        lane = min(spot.x for spot in beside) - _LANE - taken
        ends = source.x, target.x
    return [[ends[0], out], [lane, out], [lane, into], [ends[1], into]]


def _ports(
    edges: list[dict[str, str]],
    spots: dict[str, Spot],
    back: set[tuple[str, str]],
    routes: dict[tuple[str, str], list[Spot]],
) -> tuple[dict[int, float], dict[int, float]]:
    # Edges of one node leave and arrive side by side, in the order of where they lead to and come from.
    leaving: dict[str, list[tuple[float, int]]] = {}
    arriving: dict[str, list[tuple[float, int]]] = {}
    for number, edge in enumerate(edges):
        pair = (edge["from"], edge["to"])
        if pair in back:
            continue
        way = [spots[pair[0]], *routes[pair], spots[pair[1]]]
        leaving.setdefault(pair[0], []).append((way[1].middle, number))
        arriving.setdefault(pair[1], []).append((way[-2].middle, number))
    return _spread(leaving, spots), _spread(arriving, spots)


def _spread(ends: dict[str, list[tuple[float, int]]], spots: dict[str, Spot]) -> dict[int, float]:
    found = {}
    for name, of_node in ends.items():
        spot = spots[name]
        for place_, (_, number) in enumerate(sorted(of_node)):
            found[number] = spot.x + spot.width * (place_ + 1) / (len(of_node) + 1)
    return found


def _moved(picture: dict[str, Any], by: float) -> dict[str, Any]:
    if by:
        picture["width"] += by
        for node in picture["nodes"]:
            node["x"] += by
        for edge in picture["edges"]:
            edge["label"][0] += by
            for point in edge["points"]:
                point[0] += by
    return picture
