"""Campaigns: who gets what, decided by immutable versions and paid from ledger budgets."""
