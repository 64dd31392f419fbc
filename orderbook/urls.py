"""Addresses of the market's reads, under /api/v1/."""

from django.urls import path

from orderbook import api

urlpatterns = [
    path("markets/", api.Markets.as_view()),
    path("markets/<str:market>/", api.OneMarket.as_view()),
    path("markets/<str:market>/book/", api.MarketBook.as_view()),
    path("markets/<str:market>/trades/", api.MarketTrades.as_view()),
    path("orders/", api.Orders.as_view()),
    path("orders/<id:order_id>/", api.OneOrder.as_view()),
    path("fills/", api.Fills.as_view()),
]
