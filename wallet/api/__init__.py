"""The wallet over HTTP: people's own wallets, and finance's view of all of them."""
