"""The short table that tells a newcomer where to look and how to sign in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MOST_ACCOUNTS = 12


def welcome(*, url: str, gateway_url: str, demo: Mapping[str, Any], is_ready: bool) -> str:
    """Lay out the table. `demo` is what `seed_demo` wrote: accounts and an API key."""
    rows = [
        ("site", f"{url}/"),
        ("API docs", f"{url}/api/docs/"),
        ("admin", f"{url}/admin/"),
        ("gateway", f"{gateway_url}/ (for programs; the site's address leads there too)"),
        *_accounts(demo),
    ]
    if api_key := demo.get("api_key"):
        rows.append(("API key", str(api_key)))
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}   {value}" for name, value in rows]
    head = "Scrip is ready." if is_ready else f"Scrip runs, but not all of it: see {url}/readyz"
    return "\n".join(["", head, "", *lines, "", "Ctrl-C stops it; the data stays.", ""])


def _accounts(demo: Mapping[str, Any]) -> list[tuple[str, str]]:
    accounts = demo.get("accounts")
    if not isinstance(accounts, list):
        return []
    return [
        (str(each.get("role", "")), f"{each.get('email', '')}   {each.get('password', '')}")
        for each in accounts[:MOST_ACCOUNTS]
        if isinstance(each, dict)
    ]
