"""What the settings promise: secrets, cookies, headers and addresses."""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.test import Client

from config.content_policy import site_policy
from config.redis_urls import at_database, celery_broker
from config.secret import stored_secret
from tests.support.checkout import ROOT

ASK = """
import json, django.conf
names = json.loads(input())
print(json.dumps({name: getattr(django.conf.settings, name) for name in names}))
"""
OWN_SERVERS = {
    "DATABASE_URL": "postgresql://db/scrip",
    "SECRET_KEY": "s",
    "CODE_KEYS": "c",
    "CODE_LOOKUP_KEY": "l",
}


def settings_with(environment: dict[str, str], *names: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "SCRIP_VAR")}
    return subprocess.run(
        [sys.executable, "-c", ASK],
        cwd=ROOT,
        env={**kept, "DJANGO_SETTINGS_MODULE": "config.settings", **environment},
        input=json.dumps(names),
        capture_output=True,
        text=True,
        check=False,
    )


def test_https_address_makes_everything_insist_on_it() -> None:
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    environment = OWN_SERVERS | {"PUBLIC_URL": "https://scrip.example"}
    more = ("SECURE_HSTS_SECONDS", "CSRF_TRUSTED_ORIGINS", "ALLOWED_HOSTS", "DEBUG")
    said = json.loads(settings_with(environment, *names, *more).stdout)
    assert [said[name] for name in names] == [True, True, True]
    assert said["SECURE_HSTS_SECONDS"] == 31_536_000
    assert said["CSRF_TRUSTED_ORIGINS"] == ["https://scrip.example"]
    assert "scrip.example" in said["ALLOWED_HOSTS"]
    assert said["DEBUG"] is False


def test_recaptcha_tokens_are_of_the_public_name_alone() -> None:
    environment = OWN_SERVERS | {"PUBLIC_URL": "https://scrip.example"}
    said = json.loads(settings_with(environment, "RECAPTCHA_HOSTNAMES").stdout)
    assert said["RECAPTCHA_HOSTNAMES"] == ["scrip.example"]


def test_deployment_with_https_has_nothing_to_be_warned_of() -> None:
    kept = {name: os.environ[name] for name in ("PATH", "SCRIP_VAR")}
    public = {"PUBLIC_URL": "https://scrip.example", "SECRET_KEY": secrets.token_urlsafe(50)}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**kept, **OWN_SERVERS, **public},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_own_servers_need_a_secret_of_their_own() -> None:
    done = settings_with(OWN_SERVERS | {"SECRET_KEY": ""}, "SECRET_KEY")
    assert done.returncode == 1
    assert "Set SECRET_KEY: your own servers need a secret of their own." in done.stderr


def test_secret_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "secret_key"
    with ThreadPoolExecutor(8) as asking:
        found = set(asking.map(lambda _: stored_secret(path), range(32)))
    assert found == {path.read_text()}
    assert len(path.read_text()) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret_key"], "no draft is left"


@pytest.mark.parametrize(
    ("url", "cache", "broker"),
    [
        (
            "unix:///tmp/v.sock",
            "unix:///tmp/v.sock?db=2",
            "redis+socket:///tmp/v.sock?virtual_host=1",
        ),
        ("unix:///v.sock?db=5", "unix:///v.sock?db=2", "redis+socket:///v.sock?virtual_host=1"),
        ("redis://h:6379/0", "redis://h:6379/2", "redis://h:6379/1"),
        ("redis://h", "redis://h/2", "redis://h/1"),
        ("rediss://u:p@h:1/3?db=4&x=y", "rediss://u:p@h:1/2?x=y", "rediss://u:p@h:1/1?x=y"),
    ],
)
def test_one_server_holds_three_databases(url: str, cache: str, broker: str) -> None:
    assert (at_database(url, 2), celery_broker(url, 1)) == (cache, broker)


def policy_of(client: Client, path: str) -> dict[str, str]:
    """The page's content policy by directive: their order in the header says nothing."""
    header = client.get(path).headers["Content-Security-Policy"]
    directives = (directive.strip().partition(" ") for directive in header.split(";"))
    return {name: sources for name, _, sources in directives}


def test_pages_may_load_our_own_files_only(client: Client, db: None) -> None:
    policy = policy_of(client, "/accounts/login/")
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    everything = " ".join(policy.values())
    assert "http" not in everything
    assert "unsafe" not in everything


def test_admin_and_docs_alone_may_do_more(client: Client, db: None) -> None:
    docs = client.get("/api/docs/")
    assert docs.status_code == 200
    assert not re.search(rb"<script>|(src|href)=\"http", docs.content)
    policy = policy_of(client, "/api/docs/")
    assert policy["script-src"] == "'self'"
    assert "'unsafe-inline'" in policy["style-src"]
    assert policy_of(client, "/admin/")["script-src"] == "'self' 'unsafe-eval'"


def test_recaptcha_opens_the_door_to_google_and_nobody_else() -> None:
    policy = site_policy(with_recaptcha=True)
    foreign = {source for sources in policy.values() for source in sources if "//" in source}
    assert foreign == {
        "https://www.google.com/recaptcha/",
        "https://www.gstatic.com/recaptcha/",
    }


def test_health_answers_by_any_name(client: Client) -> None:
    assert client.get("/healthz", headers={"host": "10.0.0.7"}).content == b"alive\n"
    assert client.get("/accounts/login/", headers={"host": "10.0.0.7"}).status_code == 400


def test_every_variable_is_described() -> None:
    described = (ROOT / "docs" / "settings.md").read_text()
    read = re.findall(r"env\.\w+\(\s*\"(\w+)\"", (ROOT / "config" / "settings.py").read_text())
    by_supervisor = re.findall(
        r"environment(?:\.get\(|, )\"([A-Z_]+)\"",
        (ROOT / "config" / "supervisor" / "installation.py").read_text(),
    )
    assert len(read) > 15
    assert len(by_supervisor) > 5
    for name in {*read, *by_supervisor}:
        assert f"`{name}`" in described, name


def test_containers_may_leave_every_setting_empty() -> None:
    """Compose gives what is not set as an empty text."""
    empty = ("EMAIL_URL", "PUBLIC_URL", "TRUSTED_PROXIES")
    done = settings_with(OWN_SERVERS | dict.fromkeys(empty, ""), "EMAIL_BACKEND")
    assert json.loads(done.stdout)["EMAIL_BACKEND"].endswith("filebased.EmailBackend"), done.stderr


def test_proxies_in_front_of_caddy_must_be_named() -> None:
    done = settings_with(OWN_SERVERS | {"TRUSTED_PROXY_COUNT": "2"}, "DEBUG")
    assert "TRUSTED_PROXIES" in done.stderr
    named = {"TRUSTED_PROXY_COUNT": "2", "TRUSTED_PROXIES": "10.0.0.0/8"}
    assert settings_with(OWN_SERVERS | named, "DEBUG").returncode == 0
