# For the README's quick tour and for docs/journey.md: source it while `make run` is going.
PYTHON=${PYTHON:-.venv/bin/python}
_told() { "$PYTHON" -c "import json; print(json.load(open('${SCRIP_VAR:-var}/$1'))$2)"; }
_key() { _told demo.json "['keys']['$1']"; }
ORIGIN=${ORIGIN:-$(_told supervisor.lock "['url']")}
ADA=$(_key ada)
GRACE=$(_key grace)
MIRA=$(_key mira)
MONA=$(_key mona)
GUS=$(_key gus)
FINN=$(_key finn)

# api KEY METHOD PATH [BODY] [IDEMPOTENCY-KEY]
api() {
  key=$1 method=$2 path=$3 body=$4 once=$5
  set -- -sS -X "$method" "$ORIGIN/api/v1/$path" -H "Authorization: Bearer $key"
  [ -n "$body" ] && set -- "$@" -H 'Content-Type: application/json' -d "$body"
  [ -n "$once" ] && set -- "$@" -H "Idempotency-Key: $once"
  curl "$@"
  echo
}

# manage COMMAND …: manage.py in this checkout's environment
manage() { "$PYTHON" manage.py "$@"; }

# field NAME: pick a field of the JSON on standard input
field() { "$PYTHON" -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }

# in_seconds N: a moment from now, as the API reads times
in_seconds() { "$PYTHON" -c "from datetime import UTC, datetime, timedelta as t; print((datetime.now(UTC) + t(seconds=$1)).isoformat())"; }

# sign_up HANDLE: fill in the site's sign-up form, and make an API key; prints the key
sign_up() {
  jar=$(mktemp)
  _token() { awk '$6 == "csrftoken" || $6 == "__Host-csrftoken" { print $7 }' "$jar"; }
  secret="fan-$(date +%s)-A7q"
  curl -sS -c "$jar" "$ORIGIN/accounts/signup/" >/dev/null
  curl -sS -b "$jar" -c "$jar" "$ORIGIN/accounts/signup/" -H "Referer: $ORIGIN/accounts/signup/" \
    -d "csrfmiddlewaretoken=$(_token)" -d "email=$1@scrip.example" -d "username=$1" \
    -d "password1=$secret" -d "password2=$secret" >/dev/null
  curl -sS -b "$jar" "$ORIGIN/api/v1/api-keys/" -H "Referer: $ORIGIN/" \
    -H "X-CSRFToken: $(_token)" -H 'Content-Type: application/json' \
    -d '{"name": "journey", "scopes": ["wallet:read", "rewards:read", "rewards:write"]}' | field token
  rm -f "$jar"
}
