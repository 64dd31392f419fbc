"""Vouchers from one person to another, who accepts or declines them."""
