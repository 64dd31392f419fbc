"""A person's own wallets: what they have, what happened, what is set aside."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.permissions import HasScope
from edge.fields import checked_query
from wallet.accounts import WALLET
from wallet.api.answers import person
from wallet.api.schema import NOT_FOUND, answers, sample
from wallet.api.serializers import (
    AssetOut,
    AssetQuery,
    BalanceOut,
    BalanceQuery,
    EntryOut,
    LapsingOut,
    OneWalletOut,
    PageQuery,
    PeriodQuery,
    TransferOut,
    WalletOut,
)
from wallet.models import Account, Asset, Entry
from wallet.movements import handles_beside, movement
from wallet.points import expiring
from wallet.statements import (
    Line,
    balance_as_of,
    effective_balance_as_of,
    entries,
    with_transfers,
)

MOST_LOTS = 100
MAY_READ = HasScope.of(read="wallet:read")

A_WALLET = {
    "asset": "EUR", "name": "Euro", "scale": 2, "balance": 12500, "held": 2500,
    "available": 10000, "incoming": 0, "status": "open",
}  # fmt: skip
LAPSING = {"expiring": [{"amount": 500, "expires_at": "2026-12-31T00:00:00.000000Z"}]}
AN_ENTRY = {
    "transfer_id": "981234567890123", "at": "2026-01-31T12:00:00.000064Z", "effective_at": None,
    "amount": -500, "balance_after": 12500, "code": "payment", "counterparty": "ben",
    "memo": "for lunch", "hold_id": None, "reverses_id": None,
}  # fmt: skip
A_TRANSFER = {
    "id": "981234567890123", "at": "2026-01-31T12:00:00.000064Z", "kind": "transfer",
    "code": "payment", "asset": "EUR", "amount": 500, "sender": "ann", "receiver": "ben",
    "memo": "for lunch", "hold_id": None, "reverses_id": None, "effective_at": None,
    "expires_at": None,
}  # fmt: skip


def own_wallets(request: Request) -> QuerySet[Account]:
    """The wallets of whoever asks: one an asset, opened at its first use."""
    return Account.objects.of(person(request).pk).filter(kind_id=WALLET, label="")


def own_wallet(request: Request, asset: str) -> Account:
    """Find the caller's wallet for an asset; what is not theirs is not there."""
    wallet = own_wallets(request).filter(asset__code=asset).first()
    if wallet is None:
        raise NotFound
    return wallet


@extend_schema_view(
    get=extend_schema(
        operation_id="list_wallets",
        summary="List your wallets",
        tags=["wallet"],
        responses=answers({200: WalletOut(many=True)}),
        examples=[sample("a wallet", A_WALLET)],
    )
)
class Wallets(ListAPIView[Account]):
    """What you have, one wallet an asset."""

    permission_classes = (MAY_READ,)
    serializer_class = WalletOut
    page_key = ("asset_id",)

    def get_queryset(self) -> QuerySet[Account]:
        checked_query(PageQuery, self.request)
        return own_wallets(self.request)


class Wallet(APIView):
    """One of your wallets."""

    permission_classes = (MAY_READ,)

    @extend_schema(
        operation_id="get_wallet",
        summary="Read one wallet",
        tags=["wallet"],
        responses=answers({200: OneWalletOut}, NOT_FOUND),
        examples=[sample("a wallet", A_WALLET | LAPSING)],
    )
    def get(self, request: Request, asset: str) -> Response:
        """Say what you have of one asset, and what of it lapses when (the next 100 lots)."""
        wallet = own_wallet(request, asset)
        lapsing = [part._asdict() for part in expiring(wallet.pk)[:MOST_LOTS]]
        answer = {**WalletOut(wallet).data, "expiring": LapsingOut(lapsing, many=True).data}
        return Response(answer)


class Balance(APIView):
    """What one of your wallets held."""

    permission_classes = (MAY_READ,)

    @extend_schema(
        operation_id="get_wallet_balance",
        summary="Read a balance as of any time",
        tags=["wallet"],
        parameters=[BalanceQuery],
        responses=answers({200: BalanceOut}, NOT_FOUND),
        examples=[
            sample(
                "a balance",
                {
                    "asset": "EUR",
                    "balance": 12500,
                    "as_of": "2026-01-31T12:00:00.000000Z",
                    "effective": False,
                },
            )
        ],
    )
    def get(self, request: Request, asset: str) -> Response:
        """Say what the wallet held just before `as_of`."""
        query = checked_query(BalanceQuery, request)
        wallet = own_wallet(request, asset)
        as_of = query.get("as_of") or timezone.now()
        effective = query.get("effective", False)
        read = effective_balance_as_of if effective else balance_as_of
        balance = read(wallet.pk, as_of)
        answer = {"asset": asset, "balance": balance, "as_of": as_of, "effective": effective}
        return Response(BalanceOut(answer).data)


class EntryList(ListAPIView[Entry]):
    """Entries of one account, newest first; subclasses say whose."""

    serializer_class = EntryOut
    page_key = ("-transfer_id",)

    def account_id(self) -> int:
        raise AssertionError("a subclass says which account")

    def get_queryset(self) -> QuerySet[Entry]:
        query = checked_query(PeriodQuery, self.request)
        return entries(self.account_id(), start=query.get("since"), end=query.get("to"))

    def paginate_queryset(self, queryset: Any) -> Any:
        """Page the entries, then put their transfers beside them."""
        self.lines: list[Line] = with_transfers(super().paginate_queryset(queryset) or [])
        return self.lines

    def get_serializer_context(self) -> dict[str, Any]:
        lines = getattr(self, "lines", [])
        return {**super().get_serializer_context(), "handles": handles_beside(lines)}


@extend_schema_view(
    get=extend_schema(
        operation_id="list_wallet_entries",
        summary="List what happened on a wallet",
        tags=["wallet"],
        parameters=[PeriodQuery],
        responses=answers({200: EntryOut(many=True)}, NOT_FOUND),
        examples=[sample("an entry", AN_ENTRY)],
    )
)
class WalletEntries(EntryList):
    """The movements on one of your wallets, newest first."""

    permission_classes = (MAY_READ,)

    def account_id(self) -> int:
        return own_wallet(self.request, self.kwargs["asset"]).pk


@extend_schema_view(
    get=extend_schema(
        operation_id="list_assets",
        summary="List what can be held here",
        tags=["wallet"],
        parameters=[AssetQuery],
        responses=answers({200: AssetOut(many=True)}),
        examples=[
            sample(
                "an asset",
                {"code": "EUR", "name": "Euro", "kind": "currency", "scale": 2, "expires": False},
            )
        ],
    )
)
class Assets(ListAPIView[Asset]):
    """Everything countable here: currencies, points, voucher series."""

    permission_classes = (MAY_READ,)
    serializer_class = AssetOut
    page_key = ("code",)

    def get_queryset(self) -> QuerySet[Asset]:
        query = checked_query(AssetQuery, self.request)
        kind = query.get("kind")
        return Asset.objects.filter(kind=kind) if kind else Asset.objects.all()


class OwnTransfer(APIView):
    """A transfer that one of your accounts took part in."""

    permission_classes = (MAY_READ,)

    @extend_schema(
        operation_id="get_transfer",
        summary="Read one of your transfers",
        tags=["wallet"],
        responses=answers({200: TransferOut}, NOT_FOUND),
        examples=[sample("a transfer", A_TRANSFER)],
    )
    def get(self, request: Request, transfer_id: int) -> Response:
        """Tell a transfer to either side of it; to everybody else it is not there."""
        found = movement(transfer_id)
        if found is None or not found.concerns(person(request).pk):
            raise NotFound
        return Response(TransferOut(found).data)
