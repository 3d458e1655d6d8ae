// Keeps a page up to date while somebody looks at it: it is fetched again and put in place.
// Without this file every page works as well; one loads it again by hand.
(() => {
  "use strict";
  const main = document.querySelector("main[data-live]");
  if (!main) return;
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
      if (next === null || typing() || next.innerHTML === main.innerHTML) return;
      const focused = document.activeElement;
      const href = focused !== null && main.contains(focused) ? focused.getAttribute("href") : null;
      const places = scrolled().map((each) => [each.scrollLeft, each.scrollTop]);
      main.replaceChildren(...next.childNodes);
      scrolled().forEach((each, n) => places[n] && each.scrollTo(...places[n]));
      if (href !== null) {
        const same = [...main.querySelectorAll("a")].find((each) => each.getAttribute("href") === href);
        if (same) same.focus();
      }
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
