"""Addresses of the site's pages."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from web.views import account, disputes, home, markets, rewards, till, vouchers, waiting, wallet


class CodeConverter(StringConverter):
    """The code of an asset or a market; any other text is no address of ours."""

    regex = "[A-Z0-9][A-Z0-9_.-]{1,59}"


register_converter(CodeConverter, "code")

urlpatterns = [
    path("", home.home, name="home"),
    path("markets/", markets.markets, name="markets"),
    path("markets/<code:code>/", markets.market, name="market"),
    path("wallet/", wallet.wallets, name="wallet"),
    path("wallet/pay/", wallet.pay_person, name="pay"),
    path("wallet/<code:asset>/", wallet.statement, name="statement"),
    path("rewards/", rewards.rewards, name="rewards"),
    path("rewards/<str:campaign>/claim/", rewards.claim, name="claim-reward"),
    path("vouchers/", vouchers.vouchers, name="vouchers"),
    path("vouchers/codes/<id:reveal_id>/", vouchers.show_code, name="code"),
    path("vouchers/codes/<id:reveal_id>/dispute/", disputes.dispute, name="dispute"),
    path(
        "vouchers/codes/<id:reveal_id>/dispute/withdraw/",
        disputes.withdraw_dispute,
        name="withdraw-dispute",
    ),
    path("vouchers/<code:series>/reveal/", vouchers.reveal_code, name="reveal"),
    # The page itself, /waiting/<name>/, is the gateway's: a crowd looks at it.
    path("waiting/<slug:name>/enter/", waiting.enter, name="enter-waiting-room"),
    path("till/", till.till, name="till"),
    path("till/<id:redemption_id>/undo/", till.undo, name="till-undo"),
    path("account/", account.account, name="account"),
    path("account/profile/", account.change_profile, name="profile"),
    path("account/keys/", account.make_key, name="make-key"),
    path("account/keys/<id:key_id>/revoke/", account.revoke_key, name="revoke-key"),
]
