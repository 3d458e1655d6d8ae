"""Blocks: which steps a step waits for, by where it is written, and under which conditions.

Owns: sequences, parallel blocks, graphs and cases, inside one another, and which steps certainly
ended before another begins.  Refuses to know: tasks, values, and what a step is called.

In a sequence a step waits for the one before it; in a parallel block for what came before the
block; in a graph for that, and for what it uses.  After a block comes what waits for its last
steps: those that no other step inside waits for.  The cases of one choice, written one after the
other, stand beside each other: at most one of them is done.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from celeriac.errors import DefinitionError
from celeriac.machine import excludes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from celeriac.authoring.conditions import Guards
    from celeriac.machine import Guard

Kind = Literal["sequence", "parallel", "graph"]
Scope = Literal["undone_by", "two_phase"]


@dataclass(frozen=True)
class Cases:
    """The cases of one choice that were written so far."""

    chooser: str
    entry: tuple[str, ...]  # the steps that each of them waits for
    ends: tuple[str, ...] = ()  # their last steps


@dataclass(eq=False)
class Block:
    """A part of a flow."""

    kind: Kind
    parent: Block | None = None
    last: tuple[str, ...] = ()  # the steps that the next one inside waits for
    guards: Guards = ()  # what all inside are guarded by
    members: list[str] = field(default_factory=list)  # all steps inside, however deep
    cases: Cases | None = None  # those of a choice that ended just now, directly inside
    of: Cases | None = None  # those that came before this one, if it is a case
    scope: Scope | None = None  # what all inside are one of, if they are undone as a whole
    group: str = ""  # the group that it is; no step of one waits for a step of another

    @property
    def around(self) -> Iterator[Block]:
        """This block and those that it is in, from the innermost."""
        block: Block | None = self
        while block is not None:
            yield block
            block = block.parent


class Blocks:
    """The blocks of one flow, and the step that is added next."""

    def __init__(self, outer: Blocks | None = None, root: Kind = "sequence") -> None:
        """*outer* is the flow around the fragment whose blocks these are, if it is of one.

        *root* is what all blocks are in: in a graph, a step waits only for what it uses.
        """
        self._outer = outer
        self.root: Kind = outer.root if outer else root
        self._here = Block(self.root, guards=outer.guards if outer else ())
        self._unused: list[Region] = []
        self._homes: dict[str, Block] = {}
        self._after: dict[str, tuple[str, ...]] = {}
        # Sets of steps are whole numbers with a bit for each: a chain of a thousand stays small.
        self._bits: dict[str, int] = {}
        self._before: dict[str, int] = {}  # the steps that ended before a step, as bits

    def region(self, kind: Kind, word: str = "") -> Region:
        """A block to be entered with `with`; *word* is how an author calls it."""
        return self._noted(Region(self, kind, word or f"flow.{kind}"))

    def case(self, word: str, guard: Guard) -> Region:
        """A block whose steps are guarded; *word* is how an author calls it."""
        return self._noted(Region(self, "sequence", word, guard))

    def scope(
        self,
        kind: Scope,
        after: Iterable[str] = (),
        behind: Callable[[Region], None] | None = None,
    ) -> Region:
        """A block whose steps are undone as a whole, and wait for these steps besides.

        *behind* is called when the block has ended.
        """
        made = Region(self, self.root, f"flow.{kind}", None, kind, tuple(after))
        made.behind = behind
        return self._noted(made)

    def group(self, name: str) -> Region:
        """A block of steps that wait for none outside of it."""
        made = Region(self, self.root, "flow.group")
        made.group = name
        return self._noted(made)

    @property
    def here_in(self) -> str:
        """The group that the next step is in; empty if it is in none."""
        found = next((block.group for block in self._here.around if block.group), "")
        return self._outer.here_in if self._outer is not None else found

    def group_of(self, name: str) -> str:
        """The group that a step is in; empty if it is in none."""
        if self._outer is not None:  # an element of a map is where the map is
            mine = name in self._homes
            return self._outer.here_in if mine else self._outer.group_of(name)
        return next((block.group for block in self._homes[name].around if block.group), "")

    @property
    def is_inside(self) -> bool:
        """True if what comes next stands inside of a block, or of a function that is mapped."""
        return self._here.parent is not None or self._outer is not None

    @property
    def is_branch(self) -> bool:
        """True if the next step is in a block in which steps are side by side."""
        around = self._here.around
        return any(each.kind != "sequence" for each in around if each.parent and not each.group)

    @property
    def within(self) -> Scope | None:
        """The scope that the next step is in, if it is in one."""
        return next((block.scope for block in self._here.around if block.scope), None)

    def promised(self, word: str) -> Callable[[], None]:
        """Note that *word* has to be entered, which changes no order; return what says that it is.

        A name in front of others is no block, and is forgotten as easily.
        """
        return partial(self._unused.remove, self.region("sequence", word))

    def _noted(self, made: Region) -> Region:
        self._unused.append(made)
        return made

    @property
    def guards(self) -> Guards:
        """What the next step is guarded by, from the outermost."""
        return self._here.guards

    @property
    def just_ended(self) -> str | None:
        """The choice whose case was the last thing written here, if one was."""
        return self._here.cases.chooser if self._here.cases else None

    def guards_of(self, name: str) -> Guards:
        """What a step is guarded by."""
        if self._outer is not None and name not in self._homes:
            return self._outer.guards_of(name)
        return self._homes[name].guards

    def part(self) -> AbstractContextManager[None]:
        """A part of the flow that changes no order, but is one branch of a parallel block."""
        return self.region("sequence") if self._here.kind == "parallel" else nullcontext()

    def add(self, name: str, uses: Iterable[str] = ()) -> tuple[str, ...]:
        """Add a step that uses the results of others; return the steps it waits for.

        Raises DefinitionError if one of those may still be at work then.
        """
        block = self._here
        after = self._fewest([*block.last, *self._missing(uses)])
        self._homes[name], self._after[name] = block, after
        self._bits[name] = 1 << len(self._bits)
        self._before[name] = self._all_before(after)
        for each in block.around:
            each.members.append(name)
        if block.kind == "sequence":
            block.last = (name,)
        block.cases = None
        return after

    def check(self, uses: Iterable[str]) -> list[str]:
        """Raise DefinitionError if the next step may begin before one of those has ended.

        Return those that it has to wait for besides what it waits for by its place.
        """
        return self._missing(uses)

    def beside(self, name: str) -> list[str]:
        """The steps that may be at work at the same time as this one."""
        mine = self._bits[name]
        return [
            each
            for each, bit in self._bits.items()
            if not (each == name or self._before[each] & mine or self._before[name] & bit)
            and not excludes(self.guards_of(each), self.guards_of(name))
            and self.group_of(each) == self.group_of(name)
        ]

    def close(self) -> None:
        """Take no more steps; raise DefinitionError for a block that nobody entered."""
        if self._unused:
            word = self._unused[0].word
            raise DefinitionError(
                f"{word}() does nothing by itself: write `with {word}(…):` and its steps inside"
            )

    # --- entering and leaving ------------------------------------------------------------------

    def enter(self, region: Region) -> Block:
        """Begin a block."""
        self._unused.remove(region)
        around = self._here
        if region.group:
            self._here = Block(region.kind, around, group=region.group)
            return self._here
        if region.guard is None:
            last = self._fewest([*around.last, *region.after])
            self._here = Block(region.kind, around, last, around.guards, scope=region.scope)
            return self._here
        cases = around.cases
        if cases is None or cases.chooser != region.guard.step:
            cases = Cases(region.guard.step, self._entry(region.guard.step))
        guards = (*around.guards, region.guard)
        self._here = Block("sequence", around, cases.entry, guards, of=cases)
        return self._here

    def _entry(self, chooser: str) -> tuple[str, ...]:
        """What the cases of a choice wait for, if the first of them is written here."""
        if self._homes[chooser] is self._here:
            return self._fewest([*self._here.last, chooser])  # also in a parallel block
        return self._fewest([*self._here.last, *self._missing([chooser])])

    def leave(self, block: Block) -> None:
        """End a block: in a sequence, what comes next waits for its last steps."""
        assert block.parent is not None
        self._here = around = block.parent
        ends = () if block.group else self._ends(block)
        around.cases = None
        if block.of is not None:
            ends = self._fewest([*block.of.ends, *ends])
            around.cases = replace(block.of, ends=ends)
        if ends and around.kind == "sequence":
            around.last = ends

    def _ends(self, block: Block) -> tuple[str, ...]:
        """The steps of a block that no other of its steps waits for."""
        waited_for = {each for name in block.members for each in self._after[name]}
        return tuple(name for name in block.members if name not in waited_for)

    # --- what comes before what ----------------------------------------------------------------

    def _missing(self, uses: Iterable[str]) -> list[str]:
        """Those of *uses* that the next step does not wait for by its place alone."""
        certain = self._all_before(self._here.last)
        if self._outer is not None:  # the whole map waits for what is used of the flow around it
            uses = [name for name in uses if name in self._homes]
        # What is there of another group is there when this one is entered, or not at all.
        uses = [name for name in uses if self.group_of(name) == self.here_in]
        missing = [name for name in dict.fromkeys(uses) if not certain & self._bits[name]]
        for name in missing:
            inside = set(self._homes[name].around)
            shared = next(block for block in self._here.around if block in inside)
            if shared.kind != "graph":
                raise DefinitionError(
                    f"{name} runs side by side with this step, and may not have ended when it "
                    "begins: write this step behind the block, or both inside `with flow.graph():`"
                )
        return missing

    def _all_before(self, names: Iterable[str]) -> int:
        """These steps and all that ended before one of them, as bits."""
        found = 0
        for name in names:
            found |= self._bits[name] | self._before[name]
        return found

    def _fewest(self, names: Iterable[str]) -> tuple[str, ...]:
        """*names* without those that others of them wait for anyway, in the order of the plan."""
        wanted = sorted(dict.fromkeys(names), key=lambda name: self._bits[name])
        implied = 0
        for name in wanted:
            implied |= self._before[name]
        return tuple(name for name in wanted if not implied & self._bits[name])


class Region:
    """What `flow.parallel()` and its like return: a block, for the length of a `with`."""

    def __init__(
        self,
        blocks: Blocks,
        kind: Kind,
        word: str,
        guard: Guard | None = None,
        scope: Scope | None = None,
        after: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.word, self.guard, self.scope, self.after = kind, word, guard, scope, after
        self._blocks = blocks
        self.ahead: Callable[[Region], None] | None = None
        self.behind: Callable[[Region], None] | None = None
        self.group = ""
        self._block: Block | None = None

    @property
    def members(self) -> tuple[str, ...]:
        """All steps inside, however deep."""
        return tuple(self._block.members) if self._block else ()

    def __enter__(self) -> None:
        if self._block is not None:
            raise DefinitionError(f"a {self.word}() is entered once: call it for each block")
        if self.ahead:
            self.ahead(self)
        self._block = self._blocks.enter(self)

    def __exit__(self, error: object, *_: object) -> None:
        assert self._block is not None
        self._blocks.leave(self._block)
        if self.behind and error is None:
            self.behind(self)
