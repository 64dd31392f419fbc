"""People who move their money about while their orders trade, as a process of its own.

`python -m tests.orderbook.spender` moves small amounts between wallets, one transfer a commit,
until it is ended. A database that is away for a while does not end it.
"""

from __future__ import annotations

import random
import secrets
import time
from collections import defaultdict

PAUSE_S = 0.01


def main() -> None:
    import django

    django.setup()
    from django.db import DatabaseError, InterfaceError, connection

    from wallet.actions import post
    from wallet.items import Transfer
    from wallet.models import Account, Code

    wallets: dict[int, list[int]] = defaultdict(list)
    own = Account.objects.filter(kind_id="wallet", owner__isnull=False)
    for account_id, asset_id in own.values_list("id", "asset_id"):
        wallets[asset_id].append(account_id)
    assets = [asset_id for asset_id, accounts in wallets.items() if len(accounts) > 1]
    while True:
        time.sleep(PAUSE_S)
        asset_id = random.choice(assets)
        payer, payee = random.sample(wallets[asset_id], 2)
        transfer = Transfer(
            reference=f"spent {secrets.token_hex(8)}", asset_id=asset_id, debit_account_id=payer,
            credit_account_id=payee, amount=random.randint(1, 500), code=Code.PAYMENT.value,
        )  # fmt: skip
        try:
            post([transfer])
        except (DatabaseError, InterfaceError):
            connection.close()


if __name__ == "__main__":
    main()
