"""The baseline: a view of Django REST framework that inserts one row a request, durably.

Served as such a view is served best here: granian, WSGI, one process with one thread,
a connection kept open. It checks no key, holds no funds and matches nothing.

    granian bench.drf:application --interface wsgi
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.drf_settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.db import models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

TABLE = """
CREATE TABLE IF NOT EXISTS bench_drf (
    id bigserial PRIMARY KEY, client_order_id text NOT NULL, side text NOT NULL,
    price bigint NOT NULL, quantity bigint NOT NULL)
"""


class Row(models.Model):
    """One order, as a row and no more."""

    client_order_id = models.TextField()
    side = models.TextField()
    price = models.BigIntegerField()
    quantity = models.BigIntegerField()

    objects: models.Manager[Row] = models.Manager()

    class Meta:
        app_label = "sequencer"
        managed = False
        db_table = "bench_drf"


class OrderBody(serializers.Serializer[Any]):
    """The body of an order."""

    client_order_id = serializers.CharField(max_length=64)
    side = serializers.ChoiceField(["buy", "sell"])
    price = serializers.IntegerField(min_value=1)
    quantity = serializers.IntegerField(min_value=1)


class Orders(APIView):
    """Takes an order."""

    def post(self, request: Request) -> Response:
        body = OrderBody(data=request.data)
        body.is_valid(raise_exception=True)
        row = Row.objects.create(**body.validated_data)
        return Response({"order_id": str(row.pk), **body.validated_data}, status=201)


urlpatterns = [path("orders/", Orders.as_view())]
