"""Vouchers over HTTP: series for everybody, reveals for their owners, imports for marketing."""
