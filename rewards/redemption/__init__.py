"""Vouchers at the till: qualify, reserve, confirm, roll back, reverse; and what they cost."""
