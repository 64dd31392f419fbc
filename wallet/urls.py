"""Addresses of the wallet's API, under /api/v1/."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from wallet.api import exports, finance, payments, reversals, wallets


class AssetCodeConverter(StringConverter):
    """The code of an asset; any other text is no address of ours."""

    regex = "[A-Z][A-Z0-9_.-]{1,39}"


register_converter(AssetCodeConverter, "asset")

urlpatterns = [
    path("assets/", wallets.Assets.as_view()),
    path("wallets/", wallets.Wallets.as_view()),
    path("wallets/<asset:asset>/", wallets.Wallet.as_view()),
    path("wallets/<asset:asset>/entries/", wallets.WalletEntries.as_view()),
    path("wallets/<asset:asset>/balance/", wallets.Balance.as_view()),
    path("transfers/<id:transfer_id>/", wallets.OwnTransfer.as_view()),
    path("payments/", payments.Payments.as_view()),
    path("holds/", payments.Holds.as_view()),
    path("holds/<id:hold_id>/", payments.OwnHold.as_view()),
    path("holds/<id:hold_id>/post/", payments.HoldPost.as_view()),
    path("holds/<id:hold_id>/void/", payments.HoldVoid.as_view()),
    path("accounts/", finance.Accounts.as_view()),
    path("accounts/<id:account_id>/", finance.OneAccount.as_view()),
    path("accounts/<id:account_id>/entries/", finance.AccountEntries.as_view()),
    path("accounts/<id:account_id>/freeze/", finance.Freeze.as_view()),
    path("accounts/<id:account_id>/unfreeze/", finance.Unfreeze.as_view()),
    path("accounts/<id:account_id>/close/", finance.Close.as_view()),
    path("accounts/<id:account_id>/limits/", finance.Limits.as_view()),
    path("exports/", exports.ExportList.as_view()),
    path("exports/<str:name>/", exports.OneExport.as_view()),
    path("reversals/", reversals.Reversals.as_view()),
    path("reversals/<id:request_id>/", reversals.OneReversal.as_view()),
    path("reversals/<id:request_id>/approve/", reversals.Approve.as_view()),
    path("reversals/<id:request_id>/reject/", reversals.Reject.as_view()),
]
