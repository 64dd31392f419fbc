"""What stands behind a code after it was revealed: docs/voucher-protection.md."""
