"""What is due of a run is sent, whatever becomes of it.

Owns: that a message that cannot be sent leaves its reason with the run, and that a turn that begins
with a value has that read in the place of a message.  Refuses to know: what is due (`machine`), and
who carries messages (`dispatching`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.engine.dispatching import BrokerAway, Dispatcher, reason_unsent
from celeriac.engine.turns import TurnWork
from celeriac.errors import CommandRefused, RunNotFound
from celeriac.failure import class_name
from celeriac.machine import Block, Dispatch, Unblock, Wake, as_visited, due, epoch_of, try_of
from celeriac.observing import log, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.engine.attempts import Delivery
    from celeriac.machine import Plan, Run


class Sender(TurnWork):
    """Sends what is due."""

    def send(
        self,
        dispatcher: Dispatcher,
        plan: Plan,
        whole: Run,
        dispatches: Sequence[Dispatch],
        now: int,
    ) -> None:
        """Send what is due of a run, which was committed as *run*; never raises an Exception.

        The run is accepted, so a message that cannot be sent is the run's business and not the
        caller's: the run keeps the reason, the sweep tries again, and takes the reason away as
        soon as the message is sent.  A broker that is out of reach is no reason of one run.
        """
        for number, dispatch in enumerate(dispatches):
            run = try_of(whole, dispatch.step, dispatch.epoch) or whole
            plan = as_visited(plan, run)
            if plan.node(dispatch.step).reads_first:
                self._begin_turn(dispatcher, whole.id, dispatch)
                continue
            try:
                dispatcher.send(plan, run, (dispatch,), now)
            except BrokerAway as error:
                for each in dispatches[number:]:
                    named = title(run.id, each.step, each.phase, each.attempt)
                    log.warning("%s not sent (%s); the sweep will send it", named, error)
                return
            except Exception as error:  # noqa: BLE001 -- it is kept and logged; see above
                self._note_unsent(run, dispatch, error)
            else:
                if run.step(dispatch.step).unsent:
                    self._note(run.id, Unblock(dispatch.step, dispatch.epoch))

    def _note_unsent(self, run: Run, dispatch: Dispatch, error: Exception) -> None:
        why = reason_unsent(error)
        known = run.step(dispatch.step).blocked == why
        named = title(run.id, dispatch.step, dispatch.phase, dispatch.attempt)
        log.warning("%s %s", named, why, exc_info=None if known else error)
        self._note(run.id, Block(dispatch.step, why, dispatch.epoch))

    def _note(self, run_id: str, command: Block | Unblock) -> None:
        """Note what is in the way of a message, or no longer is; the sweep would do so again."""
        try:
            self.command(run_id, command, patience=0.0)
        except RunNotFound:
            return  # nobody misses the note
        except Exception as error:  # noqa: BLE001 -- it is logged
            log.warning("%s: that could not be noted: %s", run_id, class_name(error))

    def dispatch_due(self, run_id: str, dispatcher: Dispatcher) -> None:
        """Look at a run and send what is due: what an errback asks for.

        It judges no deadline and no time limit: that needs to know of outages, as a sweep does.
        """
        plan, decided, now = self.command(run_id, Wake(credit=None))
        run = decided.run
        self.send(dispatcher, plan, run, sorted(due(run), key=lambda d: (d.at, d.step)), now)

    def send_again(self, dispatcher: Dispatcher, deliveries: Sequence[Delivery]) -> None:
        """Send the message of each attempt, as far as its run waits for that now."""
        found = self.store.read_all({each.run_id: () for each in deliveries})
        for each in deliveries:
            snapshot = found.get(each.run_id)
            run = snapshot.run if snapshot else None
            if snapshot is None or run is None or epoch_of(run, each.step) != each.epoch:
                continue
            wanted = [d for d in due(run) if (*d[:3], d.epoch) == (*each[2:5], 0)]
            plan = as_visited(self.store.plan(run.id, run.plan), run)
            self.send(dispatcher, plan, run, wanted, snapshot.now)

    def _begin_turn(self, dispatcher: Dispatcher, run_id: str, dispatch: Dispatch) -> None:
        """Read what it begins with, and send what follows; what fails, the sweep does again."""
        try:
            plan, decided, now = self.begin_turn(run_id, dispatch)
        except (CommandRefused, RunNotFound):
            return  # paused, or started anew: whoever goes on with it sees to it
        except Exception as error:  # noqa: BLE001 -- it is logged
            named = title(run_id, dispatch.step, "do", dispatch.attempt)
            log.warning("%s: its turn could not begin: %s", named, class_name(error))
            return
        self.send(dispatcher, plan, decided.run, decided.dispatches, now)
