"""Addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path

from rewards.api.imports import ImportFaults, Imports, OneImport
from rewards.api.reveals import OneReveal, RevealOne, Reveals
from rewards.api.series import HandOuts, OneSeries, SeriesList

urlpatterns = [
    path("series/", SeriesList.as_view(), name="series-list"),
    path("series/<str:series_code>/", OneSeries.as_view(), name="series"),
    path("series/<str:series_code>/imports/", Imports.as_view(), name="imports"),
    path("series/<str:series_code>/hand-outs/", HandOuts.as_view(), name="hand-outs"),
    path("series/<str:series_code>/reveal/", RevealOne.as_view(), name="reveal"),
    path("imports/<id:import_id>/", OneImport.as_view(), name="import"),
    path("imports/<id:import_id>/faults/", ImportFaults.as_view(), name="import-faults"),
    path("reveals/", Reveals.as_view(), name="reveals"),
    path("reveals/<id:reveal_id>/", OneReveal.as_view(), name="reveal-view"),
]
