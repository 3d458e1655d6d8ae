"""The planted bugs: each a small change of one file, and the tests that must catch it.

Owns: the table.  Refuses to know: how a bug is planted and tried (`__main__`).

A bug that cannot be planted any more, since the code has changed, is an error of this table
(`test_plants`): mend it there, so that the list stays what it says.

The file is long because it is a table: one bug for each rule that matters.
"""

from __future__ import annotations

from tests.mutants.action_plants import ACTIONS
from tests.mutants.answer_plants import ANSWERS
from tests.mutants.child_plants import CHILDREN
from tests.mutants.flow_plants import FLOWS
from tests.mutants.gate_plants import GATES
from tests.mutants.outside_plants import OUTSIDE_RESULTS
from tests.mutants.planting import Plant
from tests.mutants.rewind_plants import REWINDS
from tests.mutants.schedule_plants import SCHEDULES
from tests.mutants.telling_plants import TELLING
from tests.mutants.try_plants import TRIES
from tests.mutants.wait_plants import WAITS
from tests.mutants.web_plants import PAGES

EXPLORATION = "tests/machine/test_exploration.py -k nothing_is_left_over"
# What only one of its worlds can show is looked for there: all of them take half a minute.
FORGED, ANEW = (f"tests/machine/test_exploration.py -k {world}" for world in ("forged", "anew"))
WALKS = "tests/machine/test_machine_properties.py -k any_walk"
MODEL = "tests/model/test_machine.py"
TORN = "tests/model/test_torn_scripts.py"
SIMULATION = "tests/testing/test_simulation.py"
CRASHES = "tests/crash/test_matrix.py"
ENGINE = "tests/engine"
AHEAD = "tests/engine/test_ahead.py"
AHEAD_WORKERS = "tests/workers/test_ahead.py"
DEATHS = "tests/engine/test_deaths.py"

PLANTS = (
    Plant(
        "no token check",
        "Whoever reports settles the attempt that is at work.",
        "machine/attempts.py",
        "    held = direction.held_by(command.attempt, command.holder)\n",
        "    held = True\n",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "timed out is not done",
        "A lost attempt is taken for one that had no effect.",
        "machine/attempt_events.py",
        """    if event.phase == "do":
        run = put_step(run, event, changed(run.steps[event.step], may_have_effect=True))
    if event.data.get("why") in (NO_RESULT, VOID):
""",
        """    if event.data.get("why") in (NO_RESULT, VOID):
""",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "an unheard claim is left alone",
        "A worker gives a claim up that may be on record as its own: the attempt is lost.",
        "engine/attempt_work.py",
        "                if not unheard:\n                    raise\n",
        "                raise\n",
        ("tests/engine/test_outages.py",),
    ),
    Plant(
        "late success is ignored",
        "What an attempt reports after it was given up is noted, and nothing follows.",
        "machine/late_reports.py",
        """        _note(draft, command, "completed")
    _undo_again(draft, command)
""",
        """        _note(draft, command, "completed")
""",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "late failure is ignored",
        "A late report of an attempt that may have had its effect is only noted.",
        "machine/late_reports.py",
        """    if command.phase == "do" and command.effect is not False:
        _undo_again(draft, command)
""",
        "",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "undo key is reused",
        "A late effect is undone again under the key that the participant has seen.",
        "machine/run_events.py",
        "changed(step, generation=step.generation + 1)",
        "step",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "a definite failure clears an unknown outcome",
        "A definite failure clears what is not known of the attempts before it.",
        "machine/attempt_events.py",
        """    if event.phase == "do" and event.data.get("effect") is not False:
        run = put_step(run, event, changed(step, may_have_effect=True))
""",
        """    if event.phase == "do":
        effect = event.data.get("effect") is not False
        run = put_step(run, event, changed(step, may_have_effect=effect))
""",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "no grace",
        "A step is undone as soon as its attempt is given up.",
        "machine/attempt_events.py",
        "max(run.compensate_not_before, event.at + run.grace)",
        "run.compensate_not_before",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "undo beside a live attempt",
        "Nobody waits for the attempt that is at work when the run turns round.",
        "machine/undoing.py",
        "any(step.do.state is PhaseStatus.RUNNING for step in run.steps.open.values())",
        "False",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "old undo settles",
        "An undo from before the effect came back counts for the new generation.",
        "machine/run_events.py",
        "    return move_step(run, event, attempts_before_budget=direction.attempt, "
        "given_back=0, begun=0)",
        "    return move_step(run, event)",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "granted twice",
        "A message may take an attempt that another one holds.",
        "machine/attempts.py",
        "    if run.status is not wanted or not direction.state.claimable:\n",
        "    if run.status is not wanted:\n",
        (FORGED, WALKS),
    ),
    Plant(
        "any attempt will do",
        "A message for an attempt that is over may take the next one.",
        "machine/attempts.py",
        "    if command.attempt != direction.attempt + 1:\n",
        "    if command.attempt < 1:\n",
        (FORGED, WALKS),
    ),
    Plant(
        "old reports count after a restart",
        "A report from before the id was started anew settles the new run's attempt.",
        "machine/attempts.py",
        "    if command.epoch != epoch_of(draft.run, command.step):\n",
        "    if command.epoch < 0:\n",
        (ANEW, WALKS),
    ),
    Plant(
        "paused runs are claimed",
        "A step is taken up although an operator has paused the run.",
        "machine/attempts.py",
        "    if run.paused:\n        raise draft.refuse(",
        "    if run.paused < 0:\n        raise draft.refuse(",
        (FORGED, WALKS),
    ),
    Plant(
        "barrier for all",
        "No step's undo waits until what is in the air has landed.",
        "machine/attempt_events.py",
        '(node.effect == "barrier" and node.name not in plan.scope_of)',
        'node.effect != "none"',
        (EXPLORATION, WALKS),
    ),
    Plant(
        "no operator is asked",
        "An unknown outcome of a step without keys turns the run round.",
        "machine/draft.py",
        '    return draft.node(step).on_unknown == "operator"\n',
        '    return draft.node(step).on_unknown == "nobody"\n',
        ("tests/machine/test_exploration.py -k never_done_twice",),
    ),
    Plant(
        "a second failure is forgotten",
        "A step gives up while the run asks about another, and nobody sees to it.",
        "machine/draft.py",
        "        take_signals(self)\n        see_to_failures(self)\n",
        "        take_signals(self)\n",
        ("tests/machine/test_skipping.py",),
    ),
    Plant(
        "undone forwards",
        "What was done first is undone first, whatever the saga says.",
        "machine/undoing.py",
        'return plan.compensation_order != "forward"',
        'return plan.compensation_order == "forward"',
        (EXPLORATION, WALKS),
    ),
    Plant(
        "attempts without end",
        "Another attempt is always allowed.",
        "machine/policy.py",
        "    return rule.max_attempts is None or made < rule.max_attempts\n",
        "    return rule.max_attempts is None or made >= 0\n",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "losses do not count",
        "An attempt counts only once its body has ended: poison is tried for ever.",
        "machine/attempt_events.py",
        '    run = move_step(run, event, _how(event), holder="", **_after_attempt(event))\n',
        """    direction = run.step(event.step).direction(event.phase)
    free = {"attempts_before_budget": direction.attempt}
    run = move_step(run, event, _how(event), holder="", **_after_attempt(event), **free)
""",
        (EXPLORATION, WALKS),
    ),
    Plant(
        "a key for each attempt",
        "The effect's key is another one at each attempt.",
        "engine/attempts.py",
        'return f"{key_of(self.run, self.node.name)}:{self.node.name}"',
        'return f"{self.run.key}:{self.node.name}:{self.delivery.attempt}"',
        (SIMULATION, CRASHES),
    ),
    Plant(
        "a thread ends the worker",
        "What a step raises in a pool of threads is taken for the end of a process.",
        "workers/passage.py",
        "is not threading.main_thread():\n        return False",
        "is not threading.main_thread():\n        return True",
        ("tests/workers/test_raised.py",),
    ),
    Plant(
        "a busy greenlet loses its lease",
        "In a pool of greenlets, only a greenlet renews: none runs while a body computes.",
        "workers/renewal.py",
        "                store.renew(sorted(self._held()), int(self._lease * 1000))\n",
        "",
        ("tests/workers/test_pools.py -k holds_up",),
    ),
    Plant(
        "every pool forks",
        "The id of a greenlet is taken for that of a process that has died.",
        "workers/leases.py",
        '    return any(kind.__module__ == "celery.concurrency.prefork" for',
        "    return any(kind.__module__ for",
        ("tests/workers/test_leases.py",),
    ),
    Plant(
        "the sweep does not compare",
        "An attempt is given up although its lease was renewed after it was found.",
        "engine/sweep.py",
        "fields=fields, guard=LeaseGuard(lease, entry.at)",
        "fields=fields",
        ("tests/engine/test_faults.py",),
    ),
    Plant(
        "no lease is taken",
        "Nobody notices when a worker dies.",
        "engine/changes.py",
        "leases=dict.fromkeys(has - had, found.now + terms.lease),",
        "leases={},",
        (SIMULATION, CRASHES),
    ),
    Plant(
        "no time to wake is stored",
        "The wake index forgets a run whose step was taken up.",
        "engine/changes.py",
        "wake_at=decided.wake_at,",
        "wake_at=None if has - had else decided.wake_at,",
        (SIMULATION, MODEL),
    ),
    Plant(
        "lost messages stay lost",
        "The sweep never sends again what nobody has claimed.",
        "machine/timing.py",
        "if direction.sent and now >= _patient_until(run, name, direction, death)",
        "if direction.sent and now < 0",
        (WALKS, SIMULATION),
    ),
    Plant(
        "a silence is a death",
        "Whoever is stopped or cut off for some seconds is taken for dead.",
        "engine/deaths.py",
        "            if each.server == connected.server and each.link in connected.links:\n",
        "            if now < 0:\n",
        (DEATHS,),
    ),
    Plant(
        "a cut connection is a death",
        "Whoever has lost its connection gets no time to open another.",
        "engine/deaths.py",
        "CHANCE <= now - presence.seen <=",
        "SILENCE <= now - presence.seen <=",
        (DEATHS,),
    ),
    Plant(
        "a restart of Redis is a death",
        "A server that was started anew knows no connection: all are taken for dead.",
        "engine/deaths.py",
        "presence.server == connected.server\n        and not",
        "presence.server\n        and not",
        (DEATHS,),
    ),
    Plant(
        "who was silent is forgotten",
        "A worker that was stopped is dead once somebody has closed its connection.",
        "engine/deaths.py",
        "presence._replace(silent=True)",
        "presence",
        (DEATHS,),
    ),
    Plant(
        "nobody else need be heard",
        "A worker is dead although perhaps nobody could speak.",
        "engine/deaths.py",
        "        and witness\n",
        "",
        (DEATHS,),
    ),
    Plant(
        "all leases die with a worker",
        "What others have at work is given up too.",
        "engine/sweep.py",
        "and direction.holder.startswith(dead)",
        "",
        (DEATHS,),
    ),
    Plant(
        "a death doubles the backlog",
        "After a death whatever waits in a queue is sent again.",
        "engine/sweep.py",
        "patience = _ORDER if dispatch.at <= self._deaths.newest else",
        "patience = -(10**13) if dispatch.at <= self._deaths.newest else",
        (DEATHS,),
    ),
    Plant(
        "outages are not credited",
        "Deadlines pass while nobody could work.",
        "machine/timeouts.py",
        "    if credit > run.credited:\n",
        "    if credit < 0:\n",
        ("tests/engine/test_outages.py",),
    ),
    Plant(
        "a late report replaces the result",
        "What a late attempt returned is recorded, although another result is in use.",
        "engine/attempt_work.py",
        "    return any(event.kind is kind and",
        "    return any(event.kind in (kind, EventKind.LATE) and",
        (ENGINE,),
    ),
    Plant(
        "commits compare nothing",
        "The last who writes wins, whatever version he has read.",
        "store/commit.lua",
        "if head:sub(1, #ARGV[1]) ~= ARGV[1] or (ARGV[1] == '' and head ~= '') then",
        "if ARGV[1] == '' and head ~= '' then",
        (MODEL,),
    ),
    Plant(
        "what moved is written twice",
        "A settled step that moves again keeps its old line in the head.",
        "store/codec.py",
        "        text = found.without(moved)\n",
        "        text = found.text\n",
        ("tests/store/test_codec.py",),
    ),
    Plant(
        "times count from a former start",
        "The history of a run that was started anew is read with the times of its first life.",
        "store/history.py",
        "            start = event.at\n",
        "            start = start or event.at\n",
        ("tests/store/test_history.py",),
    ),
    Plant(
        "writes before the last guard",
        "A commit that is refused has left something behind.",
        "store/commit.lua",
        "  if not score or tonumber(score) ~= tonumber(ARGV[5]) then",
        "  redis.call('ZREM', KEYS[tonumber(ARGV[3])], ARGV[4])\n"
        "  if not score or tonumber(score) ~= tonumber(ARGV[5]) then",
        (TORN, MODEL),
    ),
    Plant(
        "a primary is never left",
        "Whoever was the primary is written to for as long as it is up, whatever sentinels say.",
        "store/sentinel.py",
        "        return self.place in (None, (host, port))\n",
        "        return True\n",
        ("tests/durability/test_measures.py -k sentinel-failover",),
    ),
    Plant(
        "a queue under a prefix is empty",
        "Messages that wait are taken for lost, and sent again.",
        "workers/queue_length.py",
        'if getattr(channel, "global_keyprefix", ""):',
        'if getattr(channel, "no_such_name", ""):',
        ("tests/workers/test_redis_url.py -k prefix",),
    ),
    Plant(
        "ahead past a pause",
        "A worker takes up what follows in a run that is held.",
        "machine/attempts.py",
        "    if run.paused:\n",
        "    if run.paused and not command.holder.startswith('ahead'):\n",
        (f"{AHEAD} -k comes_between",),
    ),
    Plant(
        "ahead under another nonce",
        "A report that is decided anew claims what follows once more.",
        "engine/onward.py",
        "        if self.claim is None:\n            self.claim = self._wish(first, now)\n",
        "        self.claim = self._wish(first, now)\n",
        (f"{AHEAD} -k lost",),
    ),
    Plant(
        "ahead with what was read before",
        "What another worker recorded meanwhile is not seen by what is run ahead.",
        "engine/attempt_work.py",
        "                onward.read_anew()\n",
        "                pass\n",
        (f"{AHEAD} -k came_between",),
    ),
    Plant(
        "ahead although refused",
        "What is to have a message of its own is run ahead.",
        "engine/onward.py",
        "or next_.at > now or not node.runs_ahead(next_.phase):\n",
        "or next_.at > now:\n",
        (f"{AHEAD} -k not_taken_up", f"{AHEAD_WORKERS} -k refusing"),
    ),
    Plant(
        "ahead for as long as there is something",
        "Whoever waits for a worker waits until a long run is over.",
        "workers/ahead.py",
        "if self._progress.held or late or self._too_large():\n",
        "if self._progress.held or self._too_large():\n",
        ("tests/workers/test_places.py -k quick", f"{AHEAD_WORKERS} -k others_get_their_turn"),
    ),
    Plant(
        "laid aside twice",
        "A step that was settled and has moved is read as it was before.",
        "store/codec.py",
        "_settled_lines(steps, settled, start), start)\n",
        "_settled_lines(Steps({}, steps.settled), settled, start), start)\n",
        ("tests/store/test_codec.py -k laid_aside",),
    ),
    Plant(
        "ahead past a rate limit",
        "A step with a rate limit is run ahead.",
        "workers/ahead.py",
        "    throttled = task.rate_limit and not runtime.app.conf.worker_disable_rate_limits\n",
        "    throttled = False\n",
        (f"{AHEAD_WORKERS} -k throttled",),
    ),
    Plant(
        "ahead past another queue",
        "A step that is sent to another queue is run where the one before it was.",
        "workers/ahead.py",
        "            self._key in place.keys\n",
        "            bool(place.keys)\n",
        (f"{AHEAD_WORKERS} -k elsewhere",),
    ),
    Plant(
        "ahead with the old lease",
        "The main process renews the lease of the attempt that a message began with.",
        "workers/leases.py",
        "        return at.leases\n",
        "        return {lease_of(request)}\n",
        (f"{AHEAD_WORKERS} -k own_is_kept",),
    ),
    Plant(
        "ahead without a time limit",
        "An attempt that is run ahead may take as long as it likes.",
        "workers/ahead.py",
        "            limits = limits_of(timelimit, task, self._progress.pool)\n",
        "            limits = Limits()\n",
        (f"{AHEAD_WORKERS} -k own_limits",),
    ),
    Plant(
        "ahead where a key is the same",
        "Two queues that share a routing key are taken for one.",
        "workers/ahead.py",
        'frozenset({("", queue.name), (exchange, queue.routing_key or "")})',
        'frozenset({("", queue.name), ("quick", "task")})',
        ("tests/workers/test_places.py -k routing",),
    ),
    Plant(
        "ahead with somebody's lease",
        "A claim that was refused leaves its lease in the hands of the worker that asked.",
        "workers/ahead.py",
        "        self._at, self._lease, self._uuid, self._parent = self._was\n",
        "        return\n",
        ("tests/workers/test_places.py -k granted",),
    ),
    Plant(
        "ahead with a timer for ever",
        "Each message with a time limit leaves a timer that comes in thirty years.",
        "workers/supervision.py",
        "            job._timeout = job._soft_timeout = None  #",
        "            self._worker_timers = pool._pool.on_timeout_set(job, 10**9, None)  #",
        (f"{AHEAD_WORKERS} -k own_limits",),
    ),
    Plant(
        "ahead and never acknowledged",
        "A message whose child dies ahead waits for an acknowledgement that nobody gives.",
        "workers/supervision.py",
        "    request.acknowledge()\n",
        "",
        (f"{AHEAD_WORKERS} -k acknowledged",),
    ),
    Plant(
        "a row for two",
        "A child that has told nothing yet shares its row with one that is forked later.",
        "workers/progress.py",
        '        if self.forked:\n            self._write(b"")\n',
        "        del self\n",
        ("tests/workers/test_progress.py -k nothing",),
    ),
    Plant(
        "ahead without hooks",
        "What is run ahead passes through no tracer of Celery's.",
        "workers/edge.py",
        "_passed(passage, passage.task.saga_tracer)",
        '_passed(passage, lambda *_: trace_ok_t(None, None, 0.0, ""))',
        (f"{AHEAD_WORKERS} -k sees_what",),
    ),
    Plant(
        "ahead past the end",
        "A worker that is to end takes up what follows all the same.",
        "workers/ahead.py",
        "        if self._progress.held or ",
        "        if ",
        (f"{AHEAD_WORKERS} -k is_to_end",),
    ),
    Plant(
        "a dead node stops renewal",
        "While one node of a cluster is away, no worker gives a sign of life anywhere.",
        "workers/leases.py",
        "            here = shards - away\n",
        "            here = set() if away else shards\n",
        ("tests/workers/test_leases.py",),
    ),
    Plant(
        "a dead node stops the sweep",
        "Shards that can be reached are not swept while another cannot.",
        "engine/sweep.py",
        "            return do(shard)\n        except StoreUnavailable as error:\n"
        "            if not self._store.apart:\n",
        "            return do(shard)\n        except StoreUnavailable as error:\n"
        "            if self._store.shards:\n",
        ("tests/engine/test_sweep.py -k away",),
    ),
    Plant(
        "tries look alike",
        "Flower cannot tell the attempts of two tries of a run apart.",
        "workers/message_text.py",
        '{"try": nth} if nth > 1 else {}',
        "{}",
        ("tests/workers/test_message_text.py",),
    ),
    Plant(
        "an open page is never up to date",
        "What was read for one page that is open is shown for ever.",
        "web/live_looks.py",
        "now - look.begun >= FRESH",
        "False",
        ("tests/web/test_live_looks.py",),
    ),
    Plant(
        "a herd stands in the way",
        "A sweep sends all that is due, however much waits already where it sends to.",
        "engine/sweep.py",
        "backlog.messages >= _ENOUGH",
        "backlog.messages < 0",
        ("tests/engine/test_sweep.py -k no_more_than_is_taken",),
    ),
    Plant(
        "what was read together is believed",
        "A sweep commits what it decided of a run that somebody has moved since, again and again.",
        "engine/committing.py",
        "known.pop() if known",
        "known[0] if known",
        ("tests/engine/test_sweep.py -k moved_since",),
    ),
    Plant(
        "what is sent together is not sent",
        "The messages of a batch are thrown away where something goes wrong in it.",
        "workers/publishing.py",
        "                            batch.flush()  # or what was sent so far would not be\n",
        "                            pass\n",
        ("tests/workers/test_publishing.py",),
    ),
    Plant(
        "a moved slot is not followed",
        "What a node of a cluster has given away is an error for ever.",
        "store/cluster.py",
        "                found[at] = (there, not moved)\n",
        "                found.update({})\n",
        ("tests/store/test_cluster.py -k empty_slot",),
    ),
    Plant(
        "nodes at odds are a wrong setting",
        "While nodes send a slot to each other, what is asked about it fails for good.",
        "store/cluster.py",
        "        for at in whither:  # nodes that",
        "        for at in ():  # nodes that",
        ("tests/store/test_cluster.py -k do_not_agree",),
    ),
    Plant(
        "a silent node is asked each time",
        "Whoever asks several shards waits for a silent node, again and again.",
        "store/cluster.py",
        "        self.quiet_until = time.monotonic() + _REST if slow else 0.0\n",
        "        self.quiet_until = 0.0\n",
        ("tests/store/test_cluster.py -k holds_up_no_other",),
    ),
    Plant(
        "a retry elsewhere goes home",
        "The sweep sends a retry to the task's own queue, whatever the task had asked for.",
        "workers/message_options.py",
        "{**said, **asked}.items()",
        "said.items()",
        ("tests/workers/test_adopted.py -k elsewhere",),
    ),
    Plant(
        "what a retry asked for is forgotten",
        "An attempt that asks for nothing goes home, after one that went elsewhere.",
        "machine/attempt_events.py",
        'event.data.get("via", run.step(event.step).direction(event.phase).via)',
        'event.data.get("via", "")',
        ("tests/machine/test_forward.py",),
    ),
    Plant(
        "direct calls have no time limits",
        "The limits of a message are left to a child that does not see to them.",
        "workers/supervision.py",
        "    if not header_in(request.request_dict):\n        return False  # a direct call\n",
        "",
        (f"{AHEAD_WORKERS} -k direct_call",),
    ),
    Plant(
        "one node that cannot read flags",
        "Of several nodes of Redis 6.2 the second refuses all that is asked.",
        "store/scripts.py",
        "                if not (flags and _cannot_read_flags(answer)):\n",
        "                if not (beyond_full and self._flags and _cannot_read_flags(answer)):\n",
        ("tests/store/test_scripts.py",),
    ),
    *FLOWS,
    *ANSWERS,
    *WAITS,
    *TELLING,
    *SCHEDULES,
    *TRIES,
    *REWINDS,
    *CHILDREN,
    *OUTSIDE_RESULTS,
    *PAGES,
    *GATES,
    *ACTIONS,
)
