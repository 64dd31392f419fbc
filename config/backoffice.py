"""The back office's theme and sidebar: who works here finds the pages of their own job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse, reverse_lazy

Link = dict[str, Any]


def _link(title: str, icon: str, address: str, right: str) -> Link:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{address}"),
        "permission": _has(right),
    }


def _has(right: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(right)


def _list(title: str, icon: str, model: str) -> Link:
    """A link to a model's list, for whoever may view it."""
    room, name = model.split(".")
    return _link(title, icon, f"{room}_{name}_changelist", f"{room}.view_{name}")


def _is_on_accounts(request: HttpRequest) -> bool:
    """The books stand below the accounts' address, with a link of their own."""
    accounts, books = reverse("admin:wallet_account_changelist"), reverse("admin:wallet_books")
    return request.path.startswith(accounts) and not request.path.startswith(books)


SITE_BLUE = {
    "50": "oklch(97% .014 267)",
    "100": "oklch(93.5% .03 267)",
    "200": "oklch(88% .06 267)",
    "300": "oklch(80% .1 267)",
    "400": "oklch(72% .14 267)",
    "500": "oklch(58% .19 267)",
    "600": "oklch(45.5% .2 267)",
    "700": "oklch(40% .18 267)",
    "800": "oklch(34% .15 267)",
    "900": "oklch(29% .12 267)",
    "950": "oklch(22% .08 267)",
}
"""The site's accent, from light to dark: the back office is of the same house."""

THEME: dict[str, Any] = {
    "SITE_TITLE": "Scrip",
    "SITE_HEADER": "Scrip",
    "SITE_SYMBOL": "confirmation_number",
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("web/favicon.svg"),
        }
    ],
    "STYLES": [lambda request: static("wallet/books.css")],
    "SCRIPTS": [lambda request: static("config/back_office.js")],
    "COLORS": {"primary": SITE_BLUE},
    "DASHBOARD_CALLBACK": "config.first_page.first_page",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": True,
        "navigation": [
            {
                "title": "Ledger",
                "items": [
                    _list("Accounts", "account_balance_wallet", "wallet.account")
                    | {"active": _is_on_accounts},
                    _list("Transfers", "swap_horiz", "wallet.transfer"),
                    _list("Reversals", "undo", "wallet.reversalrequest"),
                    _link("Books and exports", "balance", "wallet_books", "wallet.export_ledger"),
                    _list("Assets", "toll", "wallet.asset"),
                    _list("Account kinds", "category", "wallet.accountkind"),
                ],
            },
            {
                "title": "Rewards",
                "items": [
                    _list("Series", "confirmation_number", "rewards.series"),
                    _list("Imports", "upload_file", "rewards.codeimport"),
                    _list("Reveals", "visibility", "rewards.reveal"),
                    _list("Disputes", "gavel", "rewards.dispute"),
                    _list("Guarantees", "verified_user", "rewards.guarantee"),
                    _list("Redemptions", "redeem", "rewards.redemption"),
                    _list("Generic codes", "campaign", "rewards.genericcode"),
                    _list("Partners", "store", "rewards.partner"),
                    _list("Bulk work", "dynamic_feed", "rewards.bulkjob"),
                    _list("Presents", "featured_seasonal_and_gifts", "rewards.present"),
                ],
            },
            {
                "title": "Campaigns",
                "items": [
                    _list("Campaigns", "campaign", "campaigns.campaign"),
                    _list("Versions", "rule", "campaigns.campaignversion"),
                    _list("Claims", "redeem", "campaigns.claim"),
                    _list("Refusals", "block", "campaigns.claimrefusal"),
                    _link(
                        "One person", "person_search", "campaigns_person", "campaigns.view_claim"
                    ),
                ],
            },
            {
                "title": "Market",
                "items": [
                    _list("Markets", "storefront", "orderbook.market"),
                    _list("Orders", "receipt_long", "orderbook.order"),
                    _list("Fills", "handshake", "orderbook.fill"),
                    _list("Busts", "undo", "orderbook.bust"),
                    _list("Instructions", "campaign", "orderbook.instruction"),
                    _list("Trading limits", "speed", "orderbook.tradinglimit"),
                    _list("Dead man's switches", "timer_off", "orderbook.deadmansswitch"),
                    _list("Waiting rooms", "hourglass_top", "sequencer.waitingroom"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _list("People", "group", "accounts.user"),
                    _list("Residences", "public", "accounts.residence"),
                    _list("API keys", "key", "accounts.apikey"),
                    _list("Audit trail", "history", "edge.auditevent"),
                ],
            },
            {
                "title": "Operations",
                "items": [
                    _list("Jobs", "work_history", "jobs.job"),
                    _list("Shards", "dns", "sequencer.shard"),
                    _list("Dead letters", "report", "sequencer.deadletter"),
                    _list("Jobs", "work_history", "jobs.job"),
                    _list("Waiting rooms", "groups", "sequencer.waitingroom"),
                    _list("Timetable", "schedule", "django_celery_beat.periodictask"),
                ],
            },
        ],
    },
}
