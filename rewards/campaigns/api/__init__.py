"""Campaigns over HTTP: claims for fans, versions and reports for marketing."""
