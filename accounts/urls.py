"""Addresses under /api/v1/."""

from __future__ import annotations

from django.urls import path

from accounts.api import ApiKeyDetail, ApiKeys, Me, SessionTokens

urlpatterns = [
    path("api-keys/", ApiKeys.as_view(), name="api-keys"),
    path("api-keys/<id:key_id>/", ApiKeyDetail.as_view(), name="api-key"),
    path("session-token/", SessionTokens.as_view(), name="session-token"),
    path("me/", Me.as_view(), name="me"),
]
