"""Whose page it is: what a signed-in person has."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404, HttpRequest

from accounts.models import User
from wallet.accounts import WALLET
from wallet.models import Account

KIND_ORDER = {"points": 0, "currency": 1, "series": 2}
MOST_WALLETS = 200


def person(request: HttpRequest) -> User:
    """Who looks at the page; `login_required` has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def own_wallets(owner_id: int) -> list[Account]:
    """A person's wallets with their assets: points, then money, then vouchers. One query."""
    found = Account.objects.of(owner_id).filter(kind_id=WALLET, label="")[:MOST_WALLETS]
    return sorted(found, key=lambda wallet: (KIND_ORDER[wallet.asset.kind], wallet.asset.name))


def own_wallet(owner_id: int, asset_code: str) -> Account:
    """A person's wallet for one asset; what is not theirs is not there."""
    wallets = Account.objects.of(owner_id).filter(kind_id=WALLET, label="")
    wallet = wallets.filter(asset__code=asset_code).first()
    if wallet is None:
        raise Http404
    return wallet


def available_of(wallets: Sequence[Account], asset_id: int) -> int:
    """What a person can spend of one asset; nothing without a wallet for it."""
    return next((wallet.available for wallet in wallets if wallet.asset_id == asset_id), 0)
