"""API keys and session tokens, for a person at a browser; and who one is, for everybody."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import actions
from accounts.models import MOST_SCOPES, ApiKey, User
from accounts.permissions import IsSession
from accounts.roles import Role
from accounts.scopes import Scope, allowed_scopes, effective_scopes
from accounts.tokens import LIFE_S, write_session_token
from edge.callers import client_ip
from edge.fields import Id, StrictSerializer, UtcDateTime, checked_body

PRIVATE = {"Cache-Control": "no-store"}


class ApiKeyOut(serializers.Serializer[ApiKey]):
    """A key as its owner sees it in a list."""

    id = Id()
    prefix = serializers.CharField()
    name = serializers.CharField()
    scopes = serializers.ListField(child=serializers.ChoiceField(list(Scope)))
    state = serializers.SerializerMethodField()
    created_at = UtcDateTime()
    last_used_at = UtcDateTime(allow_null=True)
    expires_at = UtcDateTime(allow_null=True)
    revoked_at = UtcDateTime(allow_null=True)

    @extend_schema_field(serializers.ChoiceField(["usable", "expired", "revoked"]))
    def get_state(self, key: ApiKey) -> str:
        return key.state_at(timezone.now())


class NewApiKeyOut(ApiKeyOut):
    """A key just made; `token` is in this answer and never in another."""

    token = serializers.CharField()


class ApiKeyBody(StrictSerializer):
    """What is asked for: a name to know the key by, and what it may do."""

    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(list(Scope)), min_length=1, max_length=MOST_SCOPES
    )
    expires_at = UtcDateTime(required=False, allow_null=True)


class SessionView(APIView):
    """For a person signed in by browser, with the CSRF token. No API key gets in here."""

    authentication_classes = (SessionAuthentication,)
    permission_classes = (IsSession,)


class ApiKeys(SessionView, ListAPIView[ApiKey]):
    """One's own API keys, newest first; revoked ones stay in the list."""

    serializer_class = ApiKeyOut

    def get_queryset(self) -> QuerySet[ApiKey]:
        return ApiKey.objects.filter(owner_id=self.request.user.pk)

    @extend_schema(request=ApiKeyBody, responses={201: NewApiKeyOut})
    def post(self, request: Request) -> Response:
        """Make a key. The answer holds its token, once: it is stored nowhere."""
        assert isinstance(request.user, User)
        body = checked_body(ApiKeyBody, request)
        made = actions.create_key(request.user, ip=client_ip(request), **body)
        answer = {**ApiKeyOut(made.key).data, "token": made.token}
        return Response(answer, status=201, headers=PRIVATE)


class ApiKeyDetail(SessionView):
    """One key of one's own."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key_id: int) -> Response:
        """Revoke the key, at once and for good. Revoking it again changes nothing."""
        assert isinstance(request.user, User)
        if not ApiKey.objects.filter(pk=key_id, owner=request.user).exists():
            raise NotFound
        actions.revoke_keys([key_id], by=request.user, reason="", ip=client_ip(request))
        return Response(status=204)


class SessionTokenOut(serializers.Serializer[Any]):
    """A token for the gateway and how long it lasts."""

    token = serializers.CharField()
    expires_in_s = serializers.IntegerField()


class SessionTokens(SessionView):
    """Short tokens that let a signed-in browser use the gateway."""

    @extend_schema(request=None, responses={201: SessionTokenOut})
    def post(self, request: Request) -> Response:
        """Make a token of 15 minutes for this session."""
        assert isinstance(request.user, User)
        token = write_session_token(
            user_id=request.user.pk,
            scopes=scopes_of(request),
            session_key=request.session.session_key or "",
        )
        return Response({"token": token, "expires_in_s": LIFE_S}, status=201, headers=PRIVATE)


class MeOut(serializers.Serializer[Any]):
    """Who is asking."""

    handle = serializers.CharField()
    name = serializers.CharField()
    email = serializers.EmailField()
    scopes = serializers.ListField(child=serializers.ChoiceField(list(Scope)))


class Me(APIView):
    """Who one is and what one may do here; good for trying a new key."""

    @extend_schema(responses={200: MeOut})
    def get(self, request: Request) -> Response:
        person = request.user
        assert isinstance(person, User)
        answer = {"handle": person.handle, "name": person.name, "email": person.email}
        return Response(answer | {"scopes": sorted(scopes_of(request))}, headers=PRIVATE)


def scopes_of(request: Request) -> frozenset[Scope]:
    """Say what this request may do: its key's scopes, or all of a signed-in person's."""
    assert isinstance(request.user, User)
    works_in_finance = request.user.works_in(Role.FINANCE)
    if isinstance(request.auth, ApiKey):
        return effective_scopes(frozenset(request.auth.scopes), works_in_finance=works_in_finance)
    return allowed_scopes(works_in_finance=works_in_finance)
