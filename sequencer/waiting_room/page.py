"""The page on which people wait: one file, no asset, readable on a phone, works without scripts.

Without scripts it asks again by itself every few seconds. With them it follows a stream and
says changes aloud to a screen reader. Nothing here is trusted: all text is escaped, and the
policy allows exactly the one style and the one script below.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from string import Template

from sequencer.waiting_room.rules import REFRESH_S, Phase, Room, Standing, said_wait

STYLE = """
:root{color-scheme:light dark;--paper:#f6f4ee;--card:#fff;--ink:#1a1b20;--soft:#5b5d67;
--line:#dfdbd0;--accent:#2546c4;--on:#fff}
@media (prefers-color-scheme:dark){:root{--paper:#14161c;--card:#1c1f27;--ink:#ecedf1;
--soft:#a7abb8;--line:#30343f;--accent:#9db3ff;--on:#10183c}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.25rem;
background:var(--paper);color:var(--ink);font:1.0625rem/1.5 system-ui,-apple-system,"Segoe UI",
Roboto,"Noto Sans",Arial,sans-serif}
main{width:100%;max-width:32rem;background:var(--card);border:1px solid var(--line);
border-radius:.75rem;padding:1.5rem}
h1{font-size:1.5rem;line-height:1.2;margin:0 0 1rem;overflow-wrap:anywhere}
p{margin:0 0 1rem}
p:last-child{margin:0}
.big{font-size:2.5rem;line-height:1.1;font-weight:700;font-variant-numeric:tabular-nums}
.soft{color:var(--soft)}
a.button{display:inline-block;background:var(--accent);color:var(--on);text-decoration:none;
padding:.75rem 1.25rem;border-radius:.5rem;font-weight:600}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
"""
SCRIPT = """
const at = (id) => document.getElementById(id);
const again = () => setTimeout(() => location.reload(), 4000 + Math.random() * 4000);
const source = new EventSource(document.body.dataset.stream);
source.addEventListener("standing", (event) => {
  const said = JSON.parse(event.data);
  if (said.state !== document.body.dataset.state) { location.reload(); return; }
  if (at("big").textContent !== said.big) at("big").textContent = said.big;
  if (at("said").textContent !== said.said) at("said").textContent = said.said;
});
source.addEventListener("error", () => { source.close(); again(); });
"""
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
$refresh<title>$title</title>
<style>$style</style>
</head>
<body$data>
<main>
<h1>$title</h1>
$content
</main>
$script</body>
</html>
""")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY = (
    f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}'; script-src 'sha256-"
    f"{_digest(SCRIPT)}'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def words(room: Room, standing: Standing, *, now: float, wait_s: int) -> tuple[str, str]:
    """What a person in the line reads: one thing large, and one sentence."""
    if room.phase(now) is not Phase.RUNNING:
        big = said_wait(int(room.starts_at - now)).removeprefix("about ")
        count = f"{standing.waiting:,} people are here." if standing.waiting > 1 else ""
        return big, f"until it starts. Then the order is drawn by lot. {count}".strip()
    if standing.ahead == 0:
        return "You are next", "Hold on: this page moves on by itself."
    people = "1 person" if standing.ahead == 1 else f"{standing.ahead:,} people"
    return f"{standing.ahead + 1:,}", f"is your place. {people} ahead of you, {said_wait(wait_s)}."


def page_for_waiting(room: Room, big: str, said: str, *, state: str) -> bytes:
    """The page of somebody who has a ticket."""
    content = (
        f'<p class="big" id="big">{escape(big)}</p>\n'
        f'<p id="said" role="status" aria-live="polite">{escape(said)}</p>\n'
        '<p class="soft">Keep this page open. You can close it and come back: your place is'
        " kept. Other tabs and devices do not change it.</p>"
    )
    stream = f"/api/v1/waiting-rooms/{room.name}/stream/"
    return _filled(
        room,
        content,
        refresh=f'<noscript><meta http-equiv="refresh" content="{REFRESH_S}"></noscript>\n',
        data=f' data-stream="{escape(stream)}" data-state="{escape(state)}"',
        script=f'<script type="module">{SCRIPT}</script>\n',
    )


def page_for_passed(room: Room, until: int) -> bytes:
    """The page of somebody who may enter now."""
    target = f"/markets/{room.market}/" if room.market else "/"
    at = datetime.fromtimestamp(until, UTC).strftime("%H:%M")
    content = (
        '<p class="big">Your turn</p>\n'
        f'<p><a class="button" href="{escape(target)}" autofocus>Go in</a></p>\n'
        f'<p class="soft">Your pass is for you alone and holds until {at} UTC.</p>'
    )
    return _filled(room, content)


def page_for_newcomer(room: Room, *, now: float) -> bytes:
    """The page of somebody without a ticket."""
    start = datetime.fromtimestamp(room.starts_at, UTC).strftime("%d %B, %H:%M")
    if room.phase(now) is Phase.SHUT:
        content = f"<p>It starts on {start} UTC. The waiting room is not open yet.</p>"
        return _filled(room, content, refresh='<meta http-equiv="refresh" content="30">\n')
    if room.phase(now) is Phase.LOBBY:
        said = f"It starts on {start} UTC. Whoever is here by then draws a lot; being early is no"
        said += " advantage."
    else:
        said = "It has started. Take a place in the line: first come, first served."
    content = (
        f"<p>{said}</p>\n"
        f'<p><a class="button" href="/waiting/{room.name}/enter/">Take your place</a></p>\n'
        '<p class="soft">You sign in first: one place a person.</p>'
    )
    return _filled(room, content)


def page_for_trouble() -> bytes:
    """The page while the line cannot be asked: the place is safe on the ticket."""
    content = (
        "<p>Just a moment: the line does not answer. Your place is safe, and this page tries"
        " again by itself.</p>"
    )
    refresh = '<meta http-equiv="refresh" content="5">\n'
    return _fill("Waiting room", content, refresh=refresh)


def page_for_nothing() -> bytes:
    """The page of a room that is not there any more."""
    content = (
        '<p>There is no waiting room here now.</p>\n<p><a class="button" href="/">Go on</a></p>'
    )
    return _fill("Waiting room", content)


def _filled(room: Room, content: str, **parts: str) -> bytes:
    return _fill(room.title, content, **parts)


def _fill(
    title: str, content: str, *, refresh: str = "", data: str = "", script: str = ""
) -> bytes:
    return _PAGE.substitute(
        title=escape(title), content=content, refresh=refresh, data=data, script=script, style=STYLE
    ).encode()
