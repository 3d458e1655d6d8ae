"""The planted bugs of flows: branches, scopes, conditions, maps.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).
"""

from __future__ import annotations

from tests.mutants.planting import Plant

BRANCHES = "tests/machine/test_branches.py"
CHOICES = "tests/machine/test_choices.py"
SCOPES = "tests/machine/test_scopes.py"
MAPS = "tests/machine/test_maps.py"
MAPS_IN_THE_LAB = "tests/testing/test_maps.py"
GROUPS = "tests/machine/test_groups.py"
GROUPS_IN_THE_LAB = "tests/testing/test_groups.py"
EXPLORED = "tests/machine/test_exploration.py -k for_groups"
TWO_PHASE = "tests/machine/test_two_phase.py"
TWO_PHASE_PLANS = "tests/authoring/test_two_phase.py"
TWO_PHASE_LAB = "tests/testing/test_two_phase.py"
IN_THE_LAB = "tests/testing/test_conditions.py"

FLOWS = (
    Plant(
        "a join fires early",
        "A step starts when the first of those that it waits for has ended.",
        "machine/next_steps.py",
        "        if not all(passed(plan, run, name) for name in node.after):\n",
        "        if node.after and not any(passed(plan, run, name) for name in node.after):\n",
        (BRANCHES,),
    ),
    Plant(
        "a join fires twice",
        "A step is sent again although it has been, when the run goes on for another branch.",
        "machine/next_steps.py",
        '        state = state_in_turn("do", step.do, whose)\n',
        "        state = PhaseStatus.SCHEDULED if chosen else PhaseStatus.SKIPPED\n",
        (BRANCHES,),
    ),
    Plant(
        "a branch goes on after another failed",
        "A step is tried again although the run has turned round.",
        "machine/draft.py",
        '    if phase == "do" and draft.run.status is not RunStatus.RUNNING:\n'
        "        return False\n",
        "",
        (BRANCHES,),
    ),
    Plant(
        "undone before its followers",
        "In the order of the graph, a step is undone while what came after it still stands.",
        "machine/undoing.py",
        "            found.update(each for each in before if each != name)\n",
        "            found.update(() and before)\n",
        (BRANCHES,),
    ),
    Plant(
        "only the first is owed",
        "Of two branches that gave up past the pivot, an operator sees one.",
        "machine/runs.py",
        "        return tuple(sorted(stuck, key=lambda name: name != self.failed_step))\n",
        "        return tuple(name for name in stuck if name == self.failed_step)\n",
        (BRANCHES,),
    ),
    Plant(
        "guards are read too early",
        "A step is skipped because of an answer that nobody has given yet.",
        "machine/next_steps.py",
        "            continue  # its guards may be about what has not settled yet\n",
        "            if is_chosen(run, node):\n                continue\n",
        (CHOICES,),
    ),
    Plant(
        "no answer is an answer",
        "What is inside of a condition that was never asked is done as its default.",
        "machine/guards.py",
        "return bool(choice) and (choice in self.among) is not self.but",
        "return (choice in self.among) is not self.but",
        (CHOICES,),
    ),
    Plant(
        "the outer condition is forgotten",
        "Only the innermost of several conditions has to hold.",
        "machine/conditions.py",
        "for guard in node.guards)",
        "for guard in node.guards[-1:])",
        (CHOICES,),
    ),
    Plant(
        "what was guarded out is waited for",
        "What follows a step that nobody chose never starts.",
        "machine/next_steps.py",
        "            waiting += () if chosen else _following(plan, run, node.name)\n",
        "",
        (CHOICES,),
    ),
    Plant(
        "a skipped step is undone",
        "A step that never started is undone with the others.",
        "machine/undoing.py",
        "    return step.may_have_effect or step.do.state is PhaseStatus.DONE\n",
        "    return step.may_have_effect or step.do.state is not PhaseStatus.IDLE\n",
        (CHOICES, "tests/machine/test_skipping.py"),
    ),
    Plant(
        "a late effect does not reach the scope",
        "The step is reopened, which has no undo of its own, instead of what undoes it.",
        "machine/late_reports.py",
        "    step = draft.plan.undoers.get(command.step, command.step)\n",
        "    step = command.step\n",
        (SCOPES,),
    ),
    Plant(
        "a scope has the place of its last step",
        "What several steps are undone by comes before what was started between them.",
        "machine/undoing.py",
        "    return min((order for order in orders if order), default=0)\n",
        "    return max((order for order in orders if order), default=0)\n",
        (SCOPES,),
    ),
    Plant(
        "only what completed is undone",
        "A step, or a scope, that may have had an effect without having completed is not undone.",
        "machine/undoing.py",
        "    return step.may_have_effect or step.do.state is PhaseStatus.DONE\n",
        "    return step.do.state is PhaseStatus.DONE\n",
        (SCOPES,),
    ),
    Plant(
        "a covered barrier needs no grace",
        "An undo of several steps runs while the request of one of them may still land.",
        "machine/attempt_events.py",
        '(node.effect == "barrier" and node.name not in plan.scope_of)',
        'node.effect == "barrier"',
        (SCOPES,),
    ),
    Plant(
        "confirmed before all is prepared",
        "A step is confirmed as soon as it is prepared itself, while others may still fail.",
        "authoring/scopes.py",
        "                after=self.blocks.add(name, (*prepared, *before)),\n",
        "                after=(self.blocks.add(name, (*prepared, *before)) and ())\n"
        "                or (node.name,),\n",
        (TWO_PHASE_PLANS, TWO_PHASE_LAB),
    ),
    Plant(
        "who skipped is confirmed",
        "A step that did not join is confirmed with the others.",
        "machine/conditions.py",
        "    return _joined(run, node.confirms) and _guards_hold(run, node)\n",
        "    return _guards_hold(run, node)\n",
        (TWO_PHASE,),
    ),
    Plant(
        "a prepare that nobody knows of is left over",
        "A step that may have prepared does not join, and nobody cancels it.",
        "machine/conditions.py",
        "    return step in plan.confirmed_by and run.step(step).may_have_effect\n",
        "    return False\n",
        (TWO_PHASE,),
    ),
    Plant(
        "a confirm can be cancelled",
        "The decision to confirm is no point of no return.",
        "machine/plans.py",
        "        return tuple(node for node in self.nodes if node.pivot or node.confirms)\n",
        "        return tuple(node for node in self.nodes if node.pivot)\n",
        (TWO_PHASE,),
    ),
    Plant(
        "a second skip is about another step",
        "Whoever lost the answer is told that the step has its result.",
        "machine/operators.py",
        "(state is PhaseStatus.SKIPPED and not joined)",
        "state is PhaseStatus.SKIPPED",
        ("tests/machine/test_two_phase.py",),
    ),
    Plant(
        "who left has a value",
        "A step that left its group has a result that is none, where another one's would do.",
        "store/payloads.py",
        "    return (done and not left) or",
        "    return done or",
        ("tests/testing/test_groups.py -k who_left",),
    ),
    Plant(
        "elements are in no group",
        "In a group, steps of an element cannot use one another: they may be None.",
        "authoring/blocks.py",
        "            return self._outer.here_in if mine else self._outer.group_of(name)\n",
        "            return '' if mine else self._outer.group_of(name)\n",
        ("tests/authoring/test_groups.py -k use_one_another",),
    ),
    Plant(
        "a case asks in another group",
        "Where a run has not been in the group that answers, nobody can go on with it.",
        "authoring/grouping.py",
        "        if home != self.blocks.here_in:\n",
        "        if not home:\n",
        ("tests/authoring/test_groups.py -k what_can_be_no_group",),
    ),
    Plant(
        "a step of a file waits for another group",
        "What a file asks for is left out without a word.",
        "authoring/grouping.py",
        "            if self.blocks.group_of(step) != self.blocks.here_in:\n",
        "            if not step:\n",
        ("tests/definitions/test_groups.py -k what_is_wrong",),
    ),
    Plant(
        "a decision about nothing",
        "Where all that was to be prepared skipped itself, the run is past a pivot all the same.",
        "machine/conditions.py",
        "    if not _joined(run, pivot.confirms):\n",
        "    if run.ended_by and not _joined(run, pivot.confirms):\n",
        (TWO_PHASE,),
    ),
    Plant(
        "a waived confirm stops the run",
        "A run stays at rest though an operator has waived the confirm that it owed.",
        "machine/operator_events.py",
        "        return move_step(go_on(plan, run, event), event, at=event.at, sent=False)\n",
        "        return move_step(run, event, at=event.at, sent=False)\n",
        (TWO_PHASE,),
    ),
    Plant(
        "any label will do",
        "A router's answer without a case is taken for one.",
        "machine/guards.py",
        "return bool(label) and (self.default or label in self.labels)",
        "return bool(label)",
        (IN_THE_LAB,),
    ),
    Plant(
        "a value that is not there exists",
        "The first of several values is taken, whether its step has run or not.",
        "store/payloads.py",
        "    return (done and not left) or output_field(expression.step) in fields\n",
        "    return done or True\n",
        (IN_THE_LAB,),
    ),
    Plant(
        "an instance shares its neighbour's key",
        "Two elements of a map in a row have one idempotency key.",
        "engine/attempts.py",
        'return f"{key_of(self.run, self.node.name)}:{self.node.name}"',
        'return f"{self.run.key}:{self.node.name}".replace("[1]", "[0]")',
        (MAPS_IN_THE_LAB,),
    ),
    Plant(
        "results in the order of their numbers as text",
        "The list of a map is put together in another order than that of its elements.",
        "store/payloads.py",
        "for number in range(counted.count if counted else 0):",
        "for number in sorted(range(counted.count if counted else 0), key=str):",
        (MAPS_IN_THE_LAB,),
    ),
    Plant(
        "the collector comes early",
        "A map has ended when its last element was begun.",
        "machine/next_steps.py",
        "    if instances.resting < instances.count:\n        return run\n",
        "",
        (MAPS,),
    ),
    Plant(
        "an element is forgotten",
        "A map counts the elements that were begun, and not those that have ended.",
        "machine/next_steps.py",
        "    if instances.resting < instances.count:\n",
        "    if instances.begun < instances.count:\n",
        (MAPS,),
    ),
    Plant(
        "all elements at once",
        "Nobody looks how many elements of a map are at work.",
        "machine/next_steps.py",
        "if instances.begun - instances.resting >= made.concurrency:",
        "if instances.begun - instances.resting >= instances.count:",
        (MAPS,),
    ),
    Plant(
        "an element begins before its turn",
        "What an operator skips of a later element starts the rest of it at once.",
        "machine/next_steps.py",
        "        if run.steps.is_element(node.name) and not _is_begun(run, node.name):\n"
        "            continue  # what it waits for was skipped beforehand; its element's turn has "
        "not come\n",
        "",
        (MAPS,),
    ),
    Plant(
        "elements stand still when the run goes on",
        "What ended in an element while the run rested is not looked at.",
        "machine/next_steps.py",
        "        candidates: Iterable[Node] = [*plan.steps, *_steps_of_elements(plan, run)]\n",
        "        candidates: Iterable[Node] = plan.steps\n",
        (MAPS,),
    ),
    Plant(
        "all elements are undone at once",
        "On the way back nobody looks how many elements of a map are at work.",
        "machine/undoing.py",
        "        if len(chosen) + len(seen) >= made.concurrency and _number(each) not in seen:\n",
        "        if len(chosen) + len(seen) >= 999 and _number(each) not in seen:\n",
        (MAPS,),
    ),
    Plant(
        "a map ends twice",
        "What follows a map is looked at again whenever one of its elements is.",
        "machine/next_steps.py",
        "    if made is None or whole.do.state is not PhaseStatus.EXPANDED:\n",
        "    if made is None:\n",
        (MAPS,),
    ),
    Plant(
        "what rests is not undone",
        "Only those elements are undone that were told one by one when the run turned round.",
        "machine/undoing.py",
        "        if not counted and next(_resting_to_undo(plan, run, name), None):\n",
        "        if False:\n",
        (MAPS, MAPS_IN_THE_LAB),
    ),
    Plant(
        "counted twice",
        "A list that is counted again changes how many elements there are.",
        "machine/expansion.py",
        "    return due and command.attempt == direction.attempt + 1\n",
        "    return draft.run.status is RunStatus.RUNNING\n",
        (MAPS,),
    ),
    Plant(
        "a visit shares the key of the one before",
        "The steps of a second visit are called as those of the first.",
        "machine/numbering.py",
        "    if number == 1:\n        return node\n    name, element",
        "    if number:\n        return node\n    name, element",
        (GROUPS, EXPLORED),
    ),
    Plant(
        "the rest of a group is done",
        "What stands behind the step that left a group runs all the same.",
        "machine/visits.py",
        "        nodes += _left(row, left_by[place]) if place < len(left_by) else row\n",
        "        nodes += row\n",
        (GROUPS, EXPLORED),
    ),
    Plant(
        "one visit is undone",
        "Of several visits of a step, the first stays as it is.",
        "machine/undoing.py",
        "    for name, step in run.steps.told_apart():\n",
        "    for name, step in run.steps.told_apart():\n"
        "        if name + '~2' in run.steps:\n            continue\n",
        (GROUPS, EXPLORED),
    ),
    Plant(
        "a route is read before its step has settled",
        "A run leaves its group as soon as the step that does so is claimed a second time.",
        "machine/attempt_events.py",
        '    placed = step.order or event.phase == "undo"\n',
        "    if plan.whole.groups and event.attempt > 1:\n"
        "        route = (event.step, plan.whole.groups[-1])\n"
        "        run = changed(run, routes=(*run.routes, route))\n"
        '    placed = step.order or event.phase == "undo"\n',
        (GROUPS, EXPLORED),
    ),
    Plant(
        "steps of all visits count as one",
        "A loop of groups never comes to the most steps that a run may start.",
        "machine/visits.py",
        '    given |= {"nodes": tuple(nodes), "max_steps": plan.most_steps}\n',
        '    given |= {"nodes": tuple(nodes), "max_steps": plan.most_steps + len(nodes)}\n',
        (GROUPS, GROUPS_IN_THE_LAB),
    ),
)
