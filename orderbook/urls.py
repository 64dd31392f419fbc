"""Addresses of the market's reads, under /api/v1/."""

from django.urls import path

from orderbook.api import busts, markets, owners, venue

urlpatterns = [
    path("markets/", markets.Markets.as_view()),
    path("markets/<str:market>/", markets.OneMarket.as_view()),
    path("markets/<str:market>/ticker/", markets.MarketTicker.as_view()),
    path("markets/<str:market>/book/", markets.MarketBook.as_view()),
    path("markets/<str:market>/changes/", markets.MarketChanges.as_view()),
    path("markets/<str:market>/trades/", markets.MarketTrades.as_view()),
    path("markets/<str:market>/candles/", markets.MarketCandles.as_view()),
    path("markets/<str:market>/session/", venue.MarketSession.as_view()),
    path("trading/dead-mans-switch/", venue.DeadMansSwitches.as_view()),
    path("orders/", owners.Orders.as_view()),
    path("orders/events/", owners.OwnEvents.as_view()),
    path("orders/events/position/", owners.OwnPosition.as_view()),
    path("orders/by-client-id/<path:client_order_id>/", owners.OneOrderByName.as_view()),
    path("orders/<id:order_id>/", owners.OneOrder.as_view()),
    path("fills/", owners.Fills.as_view()),
    path("busts/", busts.Busts.as_view()),
    path("busts/<id:bust_id>/approve/", busts.ApproveBust.as_view()),
    path("busts/<id:bust_id>/reject/", busts.RejectBust.as_view()),
]
