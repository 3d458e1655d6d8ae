"""The pages in a real browser: Chromium, where there is one.

Owns: that pages go on by themselves, work with the keyboard alone and without scripts, break no
policy and fit each screen; a picture of each is kept in the folder that CELERIAC_PICTURES names.
Refuses to know: what stands on them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from celeriac.web import marks as marks_of
from tests.in_memory import ask_outside, do
from tests.web import shop
from tests.web.browser import FOUND, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celeriac.web import Caller

pytestmark = pytest.mark.skipif(
    FOUND is None and "CI" not in os.environ, reason="there is no Chromium here"
)
PATHS = {
    "overview": "/",
    "runs": "/runs",
    "run": "/runs/failed?step=charge",
    "approvals": "/approvals",
    "approval": "/approvals/asking/verdict",
    "sagas": "/sagas",
    "saga": "/sagas/place_order",
    "bulk": "/bulk/{bulk}",
    "bulks": "/bulk",
    "schedules": "/schedules",
    "outside": "/outside",
    "breakers": "/breakers",
    "history": "/runs/failed/history",
    "system": "/system",
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for all tests."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(tab: Browser, address: str) -> Iterator[Browser]:  # noqa: ARG001 -- it outlives the page
    """The browser, with scripts, in a window of the usual size; it must complain of nothing."""
    tab.scripts(on=True)
    tab.size(1280, 1000)
    tab.complaints.clear()
    yield tab
    complaints = list(tab.complaints)
    tab.open("about:blank")  # a page that is left open complains that the server has ended
    assert complaints == []


@pytest.mark.parametrize("name", PATHS)
def test_a_page_fits_each_screen(browser: Browser, address: str, name: str, tmp_path: Path) -> None:
    """Nothing is cut off or scrolls sideways from 360 to 2560 pixels, light and dark."""
    for make in (shop.running, shop.completed, shop.failed, shop.unsure, shop.paused, shop.asking):
        make(make.__name__)
    shop.late("late")
    shop.running("o" * 200)
    shop.completed("مرحبا-42")
    shop.place_order.start(shop.Order(sku="tea"), id="elsewhere")
    ask_outside(shop.sagas, "elsewhere", "reserve")
    look = shop.sagas.bulk(
        "retry", status="failed", asking=True, owed=True, reason="the bank is back", by="ada"
    )
    folder = Path(os.environ.get("CELERIAC_PICTURES", tmp_path))
    browser.open(address + PATHS[name].format(bulk=look.id))
    for width in (360, 1280, 2560):
        for dark in (False, True):
            browser.size(width, 1000, dark=dark)
            assert browser.tell("document.documentElement.scrollWidth") <= width
            path = folder / f"{name}-{width}-{'dark' if dark else 'light'}.png"
            browser.picture(path)
            assert path.stat().st_size > 0


def test_a_run_goes_on_without_loading_the_page_again(browser: Browser, address: str) -> None:
    """What happens is shown as it happens; a form that is open is left alone."""
    shop.running("o-1")
    browser.open(f"{address}/runs/o-1")
    browser.tell("window.same = true")
    shop.sagas.run("o-1").pause("lunch", by="ada")
    browser.until("document.querySelector('.chip').innerText.includes('paused')")
    assert browser.tell("window.same") is True
    browser.tell("document.querySelector('details.act').open = true")
    shop.sagas.run("o-1").resume(by="ada")
    browser.tell("document.dispatchEvent(new Event('visibilitychange'))")
    assert browser.tell("document.querySelector('.chip').innerText.includes('paused')") is True


def test_a_run_is_settled_with_the_keyboard_alone(browser: Browser, address: str) -> None:
    """Tab to the button, open it, give the reason, and it is done."""
    shop.failed("o-1")
    browser.open(f"{address}/")
    for _ in range(30):
        browser.press("Tab")
        if browser.tell("document.activeElement.innerText || ''").startswith("Waive"):
            break
    browser.press("Enter", "\r")
    browser.until("document.querySelector('details.act[open]') !== null")
    browser.press("Tab")
    browser.write("paid back by hand")
    browser.press("Enter", "\r")
    browser.until("location.search == '?done=waive' && document.readyState == 'complete'")
    assert shop.sagas.run("o-1").status == "compensated"
    assert "Done: waive." in browser.tell("document.body.innerText")


def test_the_keyboard_stays_where_it_is_while_the_page_goes_on(
    browser: Browser, address: str
) -> None:
    """At the same button of the same run; once that is gone at a link, never at another command."""
    shop.failed("o-1")
    shop.failed("o-2")
    browser.open(f"{address}/")
    place = "document.activeElement.closest('.card')?.querySelector('a').innerText || ''"
    label = "document.activeElement.innerText || ''"
    told = ("", "")
    for _ in range(40):
        browser.press("Tab")
        told = (browser.tell(place), browser.tell(label))
        if told[0] == "o-1" and told[1].startswith("Waive"):
            break
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    shop.unsure("o-3")
    browser.tell(look)
    browser.until("document.querySelectorAll('.card').length === 3")
    assert (browser.tell(place), browser.tell(label)) == told == ("o-1", "Waive charge…")
    shop.sagas.run("o-1").waive("charge", "paid back", by="eve")
    browser.tell(look)
    browser.until("document.querySelectorAll('.card').length === 2")
    assert browser.tell("document.activeElement.localName") == "a"
    assert browser.tell("document.querySelector('main').contains(document.activeElement)") is True


def test_a_question_is_answered_by_its_button_alone(browser: Browser, address: str) -> None:
    """Enter in a field decides nothing; the button does, and the run goes on."""
    shop.asking("e-1")
    browser.open(f"{address}/approvals/e-1/verdict")
    browser.tell("document.querySelector('[name=\"field.limit\"]').focus()")
    browser.write("900")
    browser.press("Enter", "\r")
    assert browser.tell("document.querySelectorAll('button:enabled').length") == 2
    assert shop.sagas.run("e-1").status == "waiting"
    browser.tell("document.querySelector('button[value=true]').click()")
    browser.until("location.search == '?done=verdict' && document.readyState == 'complete'")
    given = shop.sagas.run("e-1").export(payloads=True)["payloads"]["out:verdict"]
    assert (given["approve"], given["limit"]) == (True, 900)


def test_two_people_click_at_once(browser: Browser, address: str) -> None:
    """The second finds out that the run has changed, and nothing of theirs is done."""
    shop.failed("o-1")
    browser.open(f"{address}/runs/o-1")
    browser.tell("document.querySelector('details.act').open = true")  # so it is not refreshed
    shop.sagas.run("o-1").waive("charge", "was first", by="ada")
    before = shop.sagas.run("o-1").history()
    browser.tell("document.querySelector('form[action$=retry] button').click()")
    browser.until("document.body.innerText.includes('the run has changed since you looked')")
    assert shop.sagas.run("o-1").history() == before
    browser.complaints.clear()  # that the answer was 409


def test_what_was_refused_goes_on_as_the_page_that_it_shows(browser: Browser, address: str) -> None:
    """It is brought up to date, the reason stands, and loading it again sends nothing again."""
    shop.running("o-1")
    browser.open(f"{address}/runs/o-1?step=reserve")
    browser.tell("document.querySelector('details.act').open = true")  # so it is not refreshed
    run = shop.sagas.run("o-1")
    run.pause("lunch", by="ada")
    browser.tell("document.querySelector('form[action$=cancel] button').click()")
    refused = "document.body.innerText.includes('the run has changed since you looked')"
    browser.until(refused)
    assert browser.tell("location.pathname") == "/runs/o-1"
    run.resume(by="ada")
    browser.until("document.querySelector('.chip').innerText.includes('running')")
    assert browser.tell(refused) is True
    assert browser.tell("document.getElementById('stale').hidden") is True
    before = run.history()
    browser.tell("window.same = true")
    browser.tell("location.reload()")
    browser.until("window.same !== true && document.readyState == 'complete'")
    assert browser.tell(refused) is False
    assert run.history() == before
    browser.complaints.clear()  # that the answer was 409


def test_a_run_is_started_answered_and_watched(browser: Browser, address: str) -> None:
    """By forms and buttons alone; what happens then is seen without loading the page again."""
    browser.open(f"{address}/sagas/expense")
    browser.tell("document.querySelector('details.many').open = true")
    given = '{"who": "eve", "amount": 900}'
    browser.tell(f"document.querySelector('textarea[name=input]').value = '{given}'")
    browser.tell("document.querySelector('input[name=id]').value = 'e-1'")
    browser.tell("document.querySelector('details.many button.main').click()")
    browser.until("location.pathname == '/runs/e-1' && document.readyState == 'complete'")
    browser.tell("document.querySelector('a.button.main').click()")
    browser.until("location.pathname == '/approvals/e-1/verdict'")
    browser.until("document.querySelector('button[value=true]') !== null")
    browser.tell("document.querySelector('button[value=true]').click()")
    browser.until("location.search == '?done=verdict' && document.readyState == 'complete'")
    browser.open(f"{address}/runs/e-1")
    browser.tell("window.same = true")
    do(shop.sagas, "e-1", "move")
    browser.until("document.querySelector('.chip').innerText.includes('completed')")
    assert browser.tell("window.same") is True


def test_a_session_expires_in_the_middle_of_an_action(
    browser: Browser, address: str, session: list[Caller]
) -> None:
    """The button leads to the login, and nothing was done; back again, it does it."""
    shop.failed("o-1")
    before = shop.sagas.run("o-1").history()
    browser.open(f"{address}/runs/o-1")
    who = session.pop()
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    browser.tell(look)
    browser.until("!document.getElementById('stale').hidden")  # what is old is not taken for new
    session.append(who)
    browser.tell(look)
    browser.until("document.getElementById('stale').hidden")
    browser.tell("document.querySelector('details.act').open = true")  # so it is not refreshed
    session.pop()
    browser.tell("document.querySelector('form[action$=retry] button').click()")
    browser.until("document.body.innerText.includes('log in first')")
    assert shop.sagas.run("o-1").history() == before
    session.append(who)
    browser.open(f"{address}/runs/o-1")
    browser.tell("document.querySelector('form[action$=retry] button').click()")
    browser.until("location.search == '?done=retry' && document.readyState == 'complete'")
    browser.complaints.clear()  # that an answer was 401


def test_all_that_a_filter_finds_are_cancelled(browser: Browser, address: str) -> None:
    """Thirty of them: the page says how many before anything is done, and then how far it is."""
    for n in range(30):
        shop.running(f"r-{n}")
    shop.completed("done")
    browser.open(f"{address}/runs?status=running&limit=10")
    browser.tell("document.querySelector('details.many').open = true")
    browser.tell("document.querySelector('select[name=verb]').value = 'cancel'")
    browser.tell("document.querySelector('input[name=rps]').value = '1000'")
    browser.tell("document.querySelector('button[value=all]').click()")
    browser.until("document.body.innerText.includes('Cancel 30 runs?')")
    browser.tell("document.querySelector('form.confirm button').click()")
    browser.until("document.body.innerText.includes('of 30')")
    bulk = shop.sagas.bulk_named(shop.sagas.bulks()[0].id)
    while bulk.state().state == "going":
        shop.sagas.sweep()
    browser.until("document.body.innerText.includes('30 of 30')")
    assert {run.status for run in shop.sagas.runs(limit=50)} == {"compensating", "completed"}


def test_pages_work_without_scripts(browser: Browser, address: str) -> None:
    """A button does what it says."""
    shop.failed("o-1")
    browser.scripts(on=False)
    browser.open(f"{address}/runs/o-1")
    browser.tell("document.querySelector('form[action$=retry] button').click()")
    browser.until("location.search == '?done=retry' && document.readyState == 'complete'")
    assert shop.sagas.run("o-1").status == "compensating"


def test_many_are_retried_from_the_list(browser: Browser, address: str) -> None:
    """Pick, look, confirm; the page shows how far it has got without being loaded again."""
    for n in range(3):
        shop.failed(f"o-{n}")
    browser.open(f"{address}/runs?status=failed")
    browser.tell("document.querySelector('details.many').open = true")
    for n in (0, 2):
        browser.tell(f"document.querySelector('input[name=run][value=o-{n}]').click()")
    browser.tell("document.querySelector('button[value=picked]').click()")
    browser.until("document.body.innerText.includes('Retry 2 runs?')")
    browser.tell("document.querySelector('form.confirm button').click()")
    browser.until("document.body.innerText.includes('0 of 2')")
    browser.tell("window.same = true")
    bulk = shop.sagas.bulk_named(shop.sagas.bulks()[0].id)
    while bulk.state().state == "going":
        shop.sagas.sweep()
    browser.until("document.body.innerText.includes('2 of 2')")
    assert browser.tell("window.same") is True
    assert {each.run_id for each in bulk.runs()} == {"o-0", "o-2"}


def test_what_is_told_by_colour_is_told_by_shape_too(browser: Browser, address: str) -> None:
    """The marks of steps, and the bars in time, differ for whoever sees no colours."""
    shop.failed("o-1")
    browser.open(f"{address}/runs/o-1")
    marks = [*dict.fromkeys(marks_of.TONES.values())]
    looks = "'clipPath borderRadius transform backgroundImage'.split(' ')"
    shapes = browser.tell(
        f"""{json.dumps(marks)}.map((tone) => {{
          const mark = document.querySelector('.progress').appendChild(document.createElement('i'));
          mark.className = tone;
          const style = getComputedStyle(mark);
          const empty = style.backgroundColor === 'rgba(0, 0, 0, 0)';
          return [...{looks}.map((each) => style[each]), empty].join(';');
        }})"""
    )
    assert len(set(shapes)) == len(marks) == 8
    bars = ["done", "failed", "lost", "running", "waits"]
    bars += [f"undo {each}" for each in bars]
    fills = browser.tell(
        f"""{json.dumps(bars)}.map((tone) => {{
          const made = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
          const bar = document.querySelector('.chart').appendChild(made);
          bar.setAttribute('class', tone);
          const style = getComputedStyle(bar);
          return [style.fill, style.stroke];
        }})"""
    )
    patterns = [fill if "url" in fill else stroke != "none" for fill, stroke in fills]
    assert len({str(each) for each in patterns[:5]}) == 5
    (undo,) = {stroke for _, stroke in fills[5:]}
    assert undo not in [stroke for _, stroke in fills[:5]]
