"""Finance over HTTP: everybody's accounts, freezing them, and their limits."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.handles import normalise_handle
from edge.callers import client_ip
from edge.fields import checked_body, checked_query
from edge.idempotency import idempotent
from wallet import freezing
from wallet.api.answers import person
from wallet.api.permissions import MAY_READ_BOOKS, FinanceDeed, SessionRequired
from wallet.api.schema import NOT_FOUND, WRITES, answers, sample
from wallet.api.serializers import (
    AccountOut,
    AccountQuery,
    EntryOut,
    LimitsIn,
    PeriodQuery,
    ReasonIn,
)
from wallet.api.wallets import AN_ENTRY, EntryList
from wallet.models import Account

AN_ACCOUNT = {
    "id": "4711", "owner": "ann", "asset": "EUR", "kind": "wallet", "label": "",
    "balance": 12500, "held": 0, "available": 12500, "incoming": 0, "floor": 0,
    "ceiling": None, "largest_debit": None, "status": "open",
    "created_at": "2026-01-01T09:00:00.000000Z",
}  # fmt: skip
WHY = sample("why", {"reason": "The owner reported a stolen phone."}, is_request=True)
REFUSED = (
    *WRITES,
    SessionRequired(),
    freezing.AccountUnknown(),
    freezing.AccountStatusDiffers(),
    freezing.ReasonMissing(),
)


def all_accounts() -> QuerySet[Account]:
    return Account.objects.select_related("owner", "asset")


@extend_schema_view(
    get=extend_schema(
        operation_id="list_accounts",
        summary="List accounts",
        tags=["finance"],
        parameters=[AccountQuery],
        responses=answers({200: AccountOut(many=True)}),
        examples=[sample("an account", AN_ACCOUNT)],
    )
)
class Accounts(ListAPIView[Account]):
    """Accounts of one person, of the house, or all; the newest first."""

    permission_classes = (MAY_READ_BOOKS,)
    serializer_class = AccountOut

    def get_queryset(self) -> QuerySet[Account]:
        query = checked_query(AccountQuery, self.request)
        accounts = all_accounts()
        if "owner" in query:
            accounts = accounts.filter(owner__handle=normalise_handle(query["owner"]))
        if query.get("house"):
            accounts = accounts.filter(owner=None)
        if "asset" in query:
            accounts = accounts.filter(asset__code=query["asset"])
        return accounts


class OneAccount(APIView):
    """One account."""

    permission_classes = (MAY_READ_BOOKS,)

    @extend_schema(
        operation_id="get_account",
        summary="Read an account",
        tags=["finance"],
        responses=answers({200: AccountOut}, NOT_FOUND),
        examples=[sample("an account", AN_ACCOUNT)],
    )
    def get(self, request: Request, account_id: int) -> Response:
        """Read any account: its balance, its limits, its condition."""
        return Response(account_out(account_id))


@extend_schema_view(
    get=extend_schema(
        operation_id="list_account_entries",
        summary="List what happened on an account",
        tags=["finance"],
        parameters=[PeriodQuery],
        responses=answers({200: EntryOut(many=True)}, NOT_FOUND),
        examples=[sample("an entry", AN_ENTRY)],
    )
)
class AccountEntries(EntryList):
    """The movements on any account, newest first."""

    permission_classes = (MAY_READ_BOOKS,)

    def account_id(self) -> int:
        account_id: int = self.kwargs["account_id"]
        if not Account.objects.filter(pk=account_id).exists():
            raise NotFound
        return account_id


class StatusDeed(APIView):
    """What freezing, unfreezing and closing have in common."""

    permission_classes = (FinanceDeed.of("wallet.freeze_account"),)
    deed: ClassVar[Any]

    def do(self, request: Request, account_id: int) -> Response:
        body = checked_body(ReasonIn, request)
        deed = type(self).deed
        deed(account_id, actor=person(request), ip=client_ip(request), **body)
        return Response(account_out(account_id))


class Freeze(StatusDeed):
    """Stop payments from an account."""

    deed = freezing.freeze

    @extend_schema(
        operation_id="freeze_account",
        summary="Freeze an account",
        tags=["finance"],
        request=ReasonIn,
        responses=answers({200: AccountOut}, *REFUSED),
        examples=[WHY, sample("frozen", AN_ACCOUNT | {"status": "frozen"})],
    )
    @idempotent
    def post(self, request: Request, account_id: int) -> HttpResponse:
        """Let nothing new leave it. Its holds still post, and money still comes in."""
        return self.do(request, account_id)


class Unfreeze(StatusDeed):
    """Let an account pay again."""

    deed = freezing.unfreeze

    @extend_schema(
        operation_id="unfreeze_account",
        summary="Unfreeze an account",
        tags=["finance"],
        request=ReasonIn,
        responses=answers({200: AccountOut}, *REFUSED),
        examples=[WHY, sample("open", AN_ACCOUNT)],
    )
    @idempotent
    def post(self, request: Request, account_id: int) -> HttpResponse:
        """Let a frozen account pay again."""
        return self.do(request, account_id)


class Close(StatusDeed):
    """Close an account for good."""

    deed = freezing.close

    @extend_schema(
        operation_id="close_account",
        summary="Close an empty account",
        tags=["finance"],
        request=ReasonIn,
        responses=answers({200: AccountOut}, *REFUSED, freezing.AccountNotEmpty(balance=12500)),
        examples=[
            WHY,
            sample("closed", AN_ACCOUNT | {"status": "closed", "balance": 0, "available": 0}),
        ],
    )
    @idempotent
    def post(self, request: Request, account_id: int) -> HttpResponse:
        """Close it for good. Refused while anything is on it, set aside or promised."""
        return self.do(request, account_id)


class Limits(APIView):
    """What an account may hold and pay."""

    permission_classes = (FinanceDeed.of("wallet.freeze_account"),)

    @extend_schema(
        operation_id="change_account_limits",
        summary="Change an account's limits",
        tags=["finance"],
        request=LimitsIn,
        responses=answers({200: AccountOut}, *REFUSED, freezing.LimitInvalid()),
        examples=[
            sample(
                "ask",
                {
                    "floor": 0,
                    "ceiling": 1000000,
                    "largest_debit": 50000,
                    "reason": "Licence condition 7",
                },
                is_request=True,
            ),
            sample("changed", AN_ACCOUNT | {"ceiling": 1000000, "largest_debit": 50000}),
        ],
    )
    @idempotent
    def post(self, request: Request, account_id: int) -> HttpResponse:
        """Set floor, ceiling and largest debit. They hold from the next posting on."""
        body = checked_body(LimitsIn, request)
        freezing.change_limits(account_id, actor=person(request), ip=client_ip(request), **body)
        return Response(account_out(account_id))


def account_out(account_id: int) -> Any:
    """Lay out one account, or say that it is not there."""
    account = all_accounts().filter(pk=account_id).first()
    if account is None:
        raise NotFound
    return AccountOut(account).data
