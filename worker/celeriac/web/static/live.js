// Keeps a page up to date while somebody looks at it: it is fetched again and put in place.
// Without this file every page works as well; one loads it again by hand.
(() => {
  "use strict";
  const main = document.querySelector("main");
  // The answer to a form that was refused: from now on it is the page that it shows, for each look
  // and for whoever loads it again, which must not send the form again.
  if (main.dataset.from) history.replaceState(null, "", main.dataset.from);
  if (!main.dataset.live) return;
  // Why it was refused stands until somebody goes elsewhere.
  const refused = main.dataset.from ? main.querySelector(":scope > .notice.bad") : null;
  let shown = main.innerHTML;
  let busy = false;
  let stream = null;

  const typing = () =>
    main.querySelector("details[open], input[name=run]:checked") !== null ||
    (document.activeElement !== null && document.activeElement.matches("input, select, textarea")) ||
    !document.getSelection().isCollapsed;

  // What is old is not to be taken for what is so: who looks is told since when.
  const stale = document.getElementById("stale");
  let seen = new Date();
  const say = (fresh) => {
    if (fresh) seen = new Date();
    stale.hidden = fresh;
    stale.querySelector("time").textContent = seen.toLocaleTimeString();
  };

  // Whoever goes through the page with the keyboard stays where they are: at the same link, or at
  // what gives the same command in the same words.  If that is gone, at the link before it: never
  // at another command.
  const sort = "a[href], button, summary";
  const commands = (each) => each.closest("form") || each.parentElement.querySelector("form");
  const known = (each) =>
    each.matches("a")
      ? each.getAttribute("href")
      : [each.localName, each.textContent, commands(each)?.getAttribute("action")].join(" ");
  const alike = (key) => [...main.querySelectorAll(sort)].filter((each) => known(each) === key);
  const focused = () => {
    const found = document.activeElement;
    if (found === null || !main.contains(found) || !found.matches(sort)) return () => {};
    const key = known(found);
    const place = alike(key).indexOf(found);
    const before = [...main.querySelectorAll("a[href]")]
      .filter((each) => each.compareDocumentPosition(found) & Node.DOCUMENT_POSITION_FOLLOWING)
      .map(known)
      .reverse();
    return () => {
      const link = before.find((each) => alike(each).length > 0);
      const there = alike(key)[place] || alike(key)[0] || alike(link)[0];
      if (there) there.focus({ preventScroll: true });
    };
  };

  // What was scrolled sideways stays where it was.
  const scrolled = () => [...main.querySelectorAll(".scroll")];

  const refresh = async () => {
    if (busy || document.hidden || typing()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, { redirect: "error", headers: { "X-Celeriac-Live": "1" } });
      say(answer.ok);
      if (!answer.ok) return;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      if (next === null || typing() || next.innerHTML === shown) return;
      shown = next.innerHTML;
      const back = focused();
      const places = scrolled().map((each) => [each.scrollLeft, each.scrollTop]);
      if (refused !== null) refused.removeAttribute("role"); // it is read out once
      main.replaceChildren(...(refused !== null ? [refused] : []), ...next.childNodes);
      scrolled().forEach((each, n) => places[n] && each.scrollTo(...places[n]));
      back();
    } catch {
      say(false); // the server is away: the next turn asks again
    } finally {
      busy = false;
    }
  };

  // One stream a tab, and none in a tab that nobody sees.
  const listen = () => {
    if (!main.dataset.events) return;
    if (document.hidden) {
      if (stream !== null) stream.close();
      stream = null;
    } else if (stream === null || stream.readyState === EventSource.CLOSED) {
      stream = new EventSource(main.dataset.events);
      stream.addEventListener("event", refresh);
      stream.addEventListener("reload", refresh);
      stream.addEventListener("progress", refresh);
    }
  };

  document.addEventListener("visibilitychange", () => {
    listen();
    refresh();
  });
  listen();
  setInterval(() => {
    listen(); // a stream that was refused, as by a proxy whose server starts again, is asked for anew
    refresh();
  }, Number(main.dataset.live) * 1000);
})();
