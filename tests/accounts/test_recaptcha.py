"""reCAPTCHA: a token must be ours, fresh, unused and good, and Google may be away."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.cache import cache
from django.test import Client

from accounts.forms import SignUpForm
from accounts.models import User
from accounts.recaptcha import SIGN_UP, OutOfReach, Policy, TokenRefused, verify
from tests.accounts.test_people import SIGN_UP as SIGN_UP_FORM

STRICT = Policy("signup", least_score=0.5, opens_in_outage=False)


class Google(ThreadingHTTPServer):
    """Answers `siteverify` over HTTPS with whatever the test wants."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Verify)
        self.certificate = write_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.asked: list[dict[str, str]] = []
        self.status, self.delay_s = 200, 0.0
        self.says(success=True)

    def says(self, **changed: Any) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        good = {"success": True, "score": 0.9, "action": "signup", "hostname": "localhost"}
        self.body = json.dumps(good | {"challenge_ts": now} | changed).encode()


class Verify(BaseHTTPRequestHandler):
    server: Google

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append({k: v[0] for k, v in parse_qs(form).items()})
        time.sleep(self.server.delay_s)
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        pass


def write_certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "localhost.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def google(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    server = Google(tmp_path)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
    settings.RECAPTCHA_DOMAIN = f"localhost:{server.server_port}"
    settings.RECAPTCHA_PUBLIC_KEY, settings.RECAPTCHA_PRIVATE_KEY = "public", "private"
    settings.RECAPTCHA_HOSTNAMES = ["localhost"]
    settings.RECAPTCHA_VERIFY_REQUEST_TIMEOUT = 1
    yield server
    server.shutdown()
    server.server_close()


def judge(token: str = "token", policy: Policy = SIGN_UP) -> None:
    verify(token, policy, ip="203.0.113.7", now=datetime.now(UTC))


def test_good_token_is_accepted_once(google: Google) -> None:
    judge()
    assert google.asked == [{"secret": "private", "response": "token", "remoteip": "203.0.113.7"}]
    with pytest.raises(TokenRefused, match="used before"):
        judge()
    judge("another")


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"success": False, "error-codes": ["timeout-or-duplicate"]}, "timeout-or-duplicate"),
        ({"success": "true"}, "Google says"),
        ({"hostname": "evil.example"}, "host evil.example"),
        ({"hostname": None}, "host None"),
        ({"action": "login"}, "action login"),
        ({"action": None}, "action None"),
        ({"score": 0.49}, "score 0.49"),
        ({"score": None}, "score None"),
        ({"score": "0.9"}, "score 0.9"),
        ({"score": float("nan")}, "score nan"),
        ({"challenge_ts": timedelta(minutes=-3)}, "made at"),
        ({"challenge_ts": timedelta(minutes=2)}, "made at"),
        ({"challenge_ts": "yesterday"}, "no time"),
        ({"challenge_ts": None}, "no time"),
    ],
)
def test_token_that_speaks_for_nobody_is_refused(
    google: Google, says: dict[str, Any], reason: str
) -> None:
    if isinstance(after := says.get("challenge_ts"), timedelta):
        says = {"challenge_ts": (datetime.now(UTC) + after).isoformat()}
    google.says(**says)
    with pytest.raises(TokenRefused, match=reason):
        judge()


@pytest.mark.parametrize("token", ["", "x" * 5000])
def test_strange_token_is_refused_without_asking(google: Google, token: str) -> None:
    with pytest.raises(TokenRefused):
        judge(token)
    assert google.asked == []


@pytest.mark.parametrize(
    "trouble", ["slow", "down", "error 500", "no json", "a list", "nothing", "redis"]
)
def test_outage_is_told_apart_from_a_refusal(
    google: Google, settings: Any, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    if trouble == "slow":
        google.delay_s = 1.5
    elif trouble == "down":
        settings.RECAPTCHA_DOMAIN = "localhost:1"
    elif trouble == "error 500":
        google.status = 500
    elif trouble == "redis":
        monkeypatch.setattr(cache, "add", lambda *_: (_ for _ in ()).throw(redis.ConnectionError))
    else:
        google.body = {"no json": b"<html>", "a list": b"[1]", "nothing": b"{}"}[trouble]
    with pytest.raises(OutOfReach):
        judge()


def sign_up() -> Any:
    return Client(raise_request_exception=False).post(
        "/accounts/signup/", SIGN_UP_FORM | {"captcha": "token"}
    )


@pytest.mark.django_db
def test_sign_up_passes_with_a_good_token(google: Google) -> None:
    assert sign_up().status_code == 302
    assert google.asked[0]["remoteip"] == "127.0.0.1"
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_page_asks_google_without_a_script_inside(google: Google) -> None:
    page = Client().get("/accounts/signup/").content.decode()
    widget = page[page.index("recaptcha/api.js") - 60 : page.index("data-recaptcha-key")]
    assert "render=public" in widget
    assert 'data-recaptcha-action="signup"' in widget
    assert widget.count("<script ") == widget.count("></script>") == 2


@pytest.mark.django_db
def test_sign_up_without_a_good_token_makes_nobody(google: Google) -> None:
    google.says(score=0.1)
    response = sign_up()
    assert response.context["form"].errors["captcha"] == [
        "Error verifying reCAPTCHA, please try again."
    ]
    assert User.objects.count() == 0


@pytest.mark.django_db
def test_outage_follows_the_policy_of_the_action(
    google: Google, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.status = 500
    monkeypatch.setattr("accounts.recaptcha.SIGN_UP", STRICT)
    assert "captcha" in sign_up().context["form"].errors
    monkeypatch.setattr("accounts.recaptcha.SIGN_UP", SIGN_UP)
    assert sign_up().status_code == 302
    assert User.objects.count() == 1


def test_without_keys_nobody_is_asked(settings: Any) -> None:
    settings.RECAPTCHA_PRIVATE_KEY = ""
    assert "captcha" not in SignUpForm().fields
