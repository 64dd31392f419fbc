from django.apps import AppConfig


class WalletConfig(AppConfig):
    name = "wallet"
    # Cut by month of their id: `manage.py maintain_partitions` keeps months ahead.
    monthly_tables = (
        "wallet_transfer", "wallet_entry", "wallet_hold", "wallet_batch", "wallet_lot_move",
    )  # fmt: skip
