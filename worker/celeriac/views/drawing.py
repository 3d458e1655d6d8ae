"""Three ways to draw the picture of a saga or a run: characters, Mermaid text and SVG.

Owns: the three languages, forward lane above, undo lane below.  Refuses to know: what is in the
picture (`graph`), and what a terminal is; it draws as wide as it is told to.

Whatever a name holds, it comes out as text: each drawing escapes it in its own language.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Literal

from celeriac.observing import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from celeriac.views.graph import Box, Cell, Frame, Graph

Drawing = Literal["ascii", "mermaid", "svg"]


def draw(graph: Graph, how: Drawing, width: int = 100) -> str:
    """Return the picture as text; *width* is in characters, for `ascii`."""
    drawings: dict[Drawing, Callable[[], str]] = {
        "ascii": lambda: "\n".join(_ascii(graph, width)),
        "mermaid": lambda: "\n".join(_mermaid(graph)),
        "svg": lambda: "\n".join(_svg(graph)),
    }
    return drawings[how]()


# --- characters --------------------------------------------------------------------------------


def _ascii(graph: Graph, width: int) -> Iterator[str]:
    yield clean(graph.title)
    for number, columns in enumerate(_folded(graph.columns, width)):
        yield ""
        # A line that goes on begins with a gap, for the arrow from the line before.
        ahead: list[Cell | None] = [None] if number else []
        for row in sorted({cell.row for column in columns for cell in column}):
            cells = [next((c for c in column if c.row == row), None) for column in columns]
            yield from _lanes(graph, [*ahead, *cells], [*(0 for _ in ahead), *map(_width, columns)])
    yield from _joins(graph)


def _folded(columns: list[list[Cell]], width: int) -> Iterator[list[list[Cell]]]:
    """The columns in bands, each as wide as the terminal at most."""
    band: list[list[Cell]] = []
    used = 0
    for column in columns:
        wide = _width(column) + len(_ARROW)
        if band and used + wide > width:
            yield band
            band, used = [], 0
        band.append(column)
        used += wide
    if band:
        yield band


_ARROW = " --> "


def _width(column: list[Cell]) -> int:
    texts = [text for cell in column for text in _texts(cell)]
    stacked = any(cell.do.stack for cell in column)
    return max(len(clean(text)) for text in texts) + (5 if stacked else 4)


def _texts(cell: Cell) -> list[str]:
    boxes = [cell.do, *([cell.undo] if cell.undo else [])]
    return [text for box in boxes for text in (box.name, box.note)]


def _lanes(graph: Graph, cells: Sequence[Cell | None], widths: Sequence[int]) -> Iterator[str]:
    """One row of the picture: forward boxes, and under them those of the undo."""
    forward = [cell.do if cell else None for cell in cells]
    yield from _boxes(forward, widths, [_follows(graph, cell) for cell in cells], "-->", "..>")
    back = [cell.undo if cell else None for cell in cells]
    if any(back):
        links = [bool(box) and (any(back[:n]) or not widths[0]) for n, box in enumerate(back)]
        yield from _boxes(back, widths, links, "<--", "<..")


def _follows(graph: Graph, cell: Cell | None) -> bool:
    """True if an arrow can be drawn to a cell: from its only predecessor, beside it."""
    if cell is None or len(cell.after) != 1:
        return False
    return graph.by_name[cell.after[0]].row == cell.row


def _boxes(
    boxes: Sequence[Box | None],
    widths: Sequence[int],
    links: Sequence[bool],
    solid: str,
    dashed: str,
) -> Iterator[str]:
    rows: list[list[str]] = [[], [], [], []]
    for place, (box, width, link) in enumerate(zip(boxes, widths, links, strict=True)):
        arrow = ""
        if place:
            before = boxes[place - 1]
            begun = box and box.solid and (before is None or before.solid)
            arrow = (solid if begun else dashed) if link else ""
        for row, line in zip(rows, _box(box, width), strict=True):
            row.append((arrow if row is rows[1] else "").center(len(_ARROW)) if place else "")
            row.append(line)
    for row in rows:
        line = "".join(row).rstrip()
        if line:
            yield line


def _box(box: Box | None, width: int) -> list[str]:
    if box is None:
        return [" " * width] * 4
    inner = width - 4
    left = right = "|" if box.solid else ":"
    if box.chooses:
        left, right = "<", ">"
    elif box.stack:
        right *= 2
        inner -= 1
    edge = "-" * (width - 2) if box.solid else ("- " * width)[: width - 2]
    text = f"{left} {clean(box.name):{inner}} {right}"
    return [f"+{edge}+", text, f"+{edge}+", f"  {clean(box.note):{width - 2}}"]


def _joins(graph: Graph) -> Iterator[str]:
    """What arrows between neighbours cannot show."""
    hidden = [cell for cell in graph.cells if cell.after and not _follows(graph, cell)]
    guarded = [cell for cell in graph.cells if cell.when]
    if hidden or guarded or graph.frames:
        yield ""
    for cell in hidden:
        yield f"{clean(cell.name)} waits for {', '.join(map(clean, cell.after))}"
    for cell in guarded:
        for step, answer in cell.when:
            yield f"{clean(cell.name)} only if {clean(step)} answers {clean(answer)}"
    for frame in graph.frames:
        yield f"{clean(frame.label)}: {', '.join(map(clean, frame.names))}"


# --- Mermaid -----------------------------------------------------------------------------------


def _mermaid(graph: Graph) -> Iterator[str]:
    yield "---"
    yield f"title: {_quoted(graph.title)}"
    yield "---"
    yield "flowchart LR"
    numbers = {cell.name: n for n, cell in enumerate(graph.cells)}
    for cell in graph.cells:
        left, right = ("{", "}") if cell.do.chooses else ("[", "]")
        if cell.do.stack:
            left, right = "[[", "]]"
        text = f'{left}"{_mermaid_text(cell.do)}"{right}'
        yield f"    do{numbers[cell.name]}{text}:::{_style(cell.do)}"
        if cell.undo:
            text = _mermaid_text(cell.undo)
            yield f'    undo{numbers[cell.name]}("{text}"):::{_style(cell.undo)}'
    for cell in graph.cells:
        here = f"do{numbers[cell.name]}"
        for name in cell.after:
            told = "".join(f'|"{_entities(answer)}"|' for step, answer in cell.when if step == name)
            yield f"    do{numbers[name]} {'-->' if cell.do.solid else '-.->'}{told} {here}"
        if cell.undo:
            yield f"    {here} -.- undo{numbers[cell.name]}"
    inner = {each for frame in graph.frames if frame.around for each in _inside(graph, frame)}
    for frame in graph.frames:
        if frame not in inner:
            yield from _subgraph(graph, frame, numbers, "    ")
    for later, earlier in _back(graph):
        arrow = "-->" if _went_back(later, earlier) else "-.->"
        yield f"    undo{numbers[later.name]} {arrow} undo{numbers[earlier.name]}"
    yield from _MERMAID_STYLES


def _subgraph(graph: Graph, frame: Frame, numbers: Mapping[str, int], indent: str) -> Iterator[str]:
    """A frame, with those that stand in it: a step is in one of them alone."""
    yield f'{indent}subgraph frame{graph.frames.index(frame)}["{_entities(frame.label)}"]'
    inner = _inside(graph, frame) if frame.around else []
    for each in inner:
        yield from _subgraph(graph, each, numbers, f"{indent}    ")
    taken = {name for each in inner for name in each.names}
    left = [f"do{numbers[name]}" for name in frame.names if name not in taken]
    if left:
        yield f"{indent}    {' & '.join(left)}"
    yield f"{indent}end"


def _inside(graph: Graph, group: Frame) -> list[Frame]:
    """The frames that stand inside of a group."""
    return [f for f in graph.frames if not f.around and set(f.names) <= set(group.names)]


_MERMAID_STYLES = [
    "    classDef plain fill:#fff,stroke:#666,color:#222",
    "    classDef good fill:#e6f4ea,stroke:#2e7d32,color:#12351a",
    "    classDef bad fill:#fde7e7,stroke:#c62828,color:#5c1111",
    "    classDef unsure fill:#fff4dc,stroke:#b26a00,color:#523200",
    "    classDef busy fill:#e6f0fb,stroke:#1565c0,color:#0c2f5a",
    "    classDef plannedplain fill:#fff,stroke:#666,color:#222,stroke-dasharray: 5 4",
    "    classDef plannedbusy fill:#fff,stroke:#1565c0,color:#0c2f5a,stroke-dasharray: 5 4",
    "    classDef plannedbad fill:#fff,stroke:#c62828,color:#5c1111,stroke-dasharray: 5 4",
    "    classDef plannedunsure fill:#fff,stroke:#b26a00,color:#523200,stroke-dasharray: 5 4",
    "    classDef plannedgood fill:#fff,stroke:#2e7d32,color:#12351a,stroke-dasharray: 5 4",
]


def _style(box: Box) -> str:
    return box.tone if box.solid else f"planned{box.tone}"


def _mermaid_text(box: Box) -> str:
    return _entities(box.name) + (f"<br/>{_entities(box.note)}" if box.note else "")


def _entities(text: str) -> str:
    """Text with codes for all but letters, digits, spaces and a few: Mermaid reads the others."""
    kept = "-_.·()"
    return "".join(
        c if c.isalnum() or c in kept or c == " " else f"#{ord(c)};" for c in clean(text)
    )


def _quoted(text: str) -> str:
    escaped = clean(text).replace("\\", "\\\\").replace('"', '\\"')
    # Drawings are put into pages as they are: no element may begin in one.
    return f'"{escaped}"'.replace("<", "\\u003c")


def _back(graph: Graph) -> list[tuple[Cell, Cell]]:
    """The pairs of steps that are undone one after the other."""
    return [
        (later, earlier)
        for later in graph.cells
        if later.undo
        for earlier in graph.undone_next(later)
    ]


def _went_back(later: Cell, earlier: Cell) -> bool:
    return bool(later.undo and later.undo.solid and earlier.undo and earlier.undo.solid)


# --- SVG ---------------------------------------------------------------------------------------

_W, _H, _GAP, _LANE = 168, 52, 56, 92  # a box, the space beside it, and how far down the undo is
_TOP, _LEFT = 56, 24
_LETTER = 9  # of the title, about
_LONGEST_TITLE, _LONGEST_NOTE = 70, 26  # characters
_COLOURS = {
    "plain": ("#ffffff", "#666666"),
    "good": ("#e6f4ea", "#2e7d32"),
    "bad": ("#fde7e7", "#c62828"),
    "unsure": ("#fff4dc", "#b26a00"),
    "busy": ("#e6f0fb", "#1565c0"),
}


def _svg(graph: Graph) -> Iterator[str]:
    rows = max((cell.row for cell in graph.cells), default=0) + 1
    title = _short(graph.title, _LONGEST_TITLE)
    steps = len(graph.columns) * (_W + _GAP) - _GAP
    width = 2 * _LEFT + max(steps, _LETTER * len(title))
    # Below the last row nothing is drawn, if none of its steps can be undone.
    last = [cell for cell in graph.cells if cell.row == rows - 1]
    deep = any(frame.around for frame in graph.frames) or any(cell.undo for cell in last)
    height = _TOP + rows * 2 * _LANE - (0 if deep else _LANE)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="14" '
        'role="img">'
    )
    yield f"<title>{_xml(graph.title)}</title>"
    yield '<rect width="100%" height="100%" fill="#ffffff"/>'
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#444444"/></marker></defs>'
    )
    yield f'<text x="{_LEFT}" y="30" font-size="17" fill="#222222">{_xml(title)}</text>'
    for frame in graph.frames:
        yield from _svg_frame(graph, frame)
    yield from _svg_arrows(graph)
    for cell in graph.cells:
        yield _svg_box(cell, cell.do, _LANE * 0)
        if cell.undo:
            yield _svg_box(cell, cell.undo, _LANE)
    yield "</svg>"


def _svg_arrows(graph: Graph) -> Iterator[str]:
    by_name = graph.by_name
    for cell in graph.cells:
        for name in cell.after:
            (x1, y1), (x2, y2) = _corner(by_name[name], 0), _corner(cell, 0)
            yield _svg_arrow(x1 + _W, y1 + _H / 2, x2, y2 + _H / 2, solid=cell.do.solid)
            for answer in (answer for step, answer in cell.when if step == name):
                yield _svg_label((x1 + _W + x2) / 2, (y1 + y2 + _H) / 2 - 5, answer)
        if cell.undo:
            x, y = _corner(cell, 0)
            yield _svg_line(x + _W / 2, y + _H, x + _W / 2, y + _LANE)
    for later, earlier in _back(graph):
        (x1, y1), (x2, y2) = _corner(later, _LANE), _corner(earlier, _LANE)
        solid = _went_back(later, earlier)
        yield _svg_arrow(x1, y1 + _H / 2, x2 + _W, y2 + _H / 2, solid=solid)


def _svg_frame(graph: Graph, frame: Frame) -> Iterator[str]:
    """A frame around the steps of each row: between two rows there may be others."""
    inside = [graph.by_name[name] for name in frame.names]
    for row in sorted({cell.row for cell in inside}):
        corners = [_corner(cell, 0) for cell in inside if cell.row == row]
        (left, top), (right, _) = min(corners), max(corners)
        # What a group is called stands below it: other frames may stand inside, with their names.
        pad, above, height = (18, 22, _LANE + _H + 42) if frame.around else (10, 18, _H + 26)
        x, y, width = left - pad, top - above, right - left + _W + 2 * pad
        said = y + height - 6 if frame.around else y + 12
        yield (
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="none" '
            f'stroke="#777777" stroke-dasharray="3 3"/><text x="{left}" y="{said}" '
            f'font-size="11" fill="#444444">{_xml(frame.label)}</text>'
        )


def _corner(cell: Cell, lane: int) -> tuple[int, int]:
    return _LEFT + cell.column * (_W + _GAP), _TOP + cell.row * 2 * _LANE + lane


def _svg_arrow(x1: float, y1: float, x2: float, y2: float, *, solid: bool) -> str:
    dash = "" if solid else ' stroke-dasharray="6 5"'
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#444444" stroke-width="1.6"'
        f'{dash} marker-end="url(#tip)"/>'
    )


def _svg_label(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="middle" font-size="11" fill="#444444">'
        f"{_xml(_short(text))}</text>"
    )


def _svg_line(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#bbbbbb" stroke-width="1" '
        'stroke-dasharray="2 4"/>'
    )


def _svg_box(cell: Cell, box: Box, lane: int) -> str:
    x, y = _corner(cell, lane)
    fill, stroke = _COLOURS[box.tone]
    dash = "" if box.solid else ' stroke-dasharray="6 5"'
    middle = y + _H / 2 + (5 if not box.note else -3)
    note = (
        f'<text x="{x + _W / 2}" y="{y + _H / 2 + 16}" text-anchor="middle" font-size="11" '
        f'fill="{stroke}">{_xml(_short(box.note, _LONGEST_NOTE))}</text>'
        if box.note
        else ""
    )
    if box.chooses:
        left, right, half = f"{x},{y + _H / 2}", f"{x + _W},{y + _H / 2}", x + _W / 2
        shape = f'<polygon points="{left} {half},{y - 8} {right} {half},{y + _H + 8}"'
    else:
        size = f'width="{_W}" height="{_H}" rx="{8 if lane == 0 else 26}"'
        look = f'fill="#ffffff" stroke="{stroke}" stroke-width="1.6"{dash}'
        behind = f'<rect x="{x + 5}" y="{y - 5}" {size} {look}/>' if box.stack else ""
        shape = f'{behind}<rect x="{x}" y="{y}" {size}'
    return (
        f"<g><title>{_xml(f'{box.name}: {box.note}' if box.note else box.name)}</title>{shape} "
        f'fill="{fill if box.solid else "#ffffff"}" stroke="{stroke}" stroke-width="1.6"{dash}/>'
        f'<text x="{x + _W / 2}" y="{middle}" text-anchor="middle" fill="#222222">'
        f"{_xml(_short(box.name))}</text>{note}</g>"
    )


def _short(text: str, most: int = 20) -> str:
    """A text with its beginning and its end: names of many steps differ in their numbers."""
    if len(text) <= most:
        return text
    end = (most - 1) // 2
    return f"{text[: most - 1 - end]}…{text[-end:]}"


def _xml(text: str) -> str:
    return escape(clean(text))
