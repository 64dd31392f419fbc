"""The market's reads over HTTP: market data for everybody, orders and fills for their owners.

Orders are placed and cancelled at the gateway (`orderbook/gateway_routes.py`), under the
same addresses.
"""
