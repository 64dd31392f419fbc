# For the README's quick tour: source it while `make run` is going.
ORIGIN=${ORIGIN:-http://127.0.0.1:8000}
PYTHON=${PYTHON:-.venv/bin/python}
_key() { "$PYTHON" -c "import json; print(json.load(open('${SCRIP_VAR:-var}/demo.json'))['keys']['$1'])"; }
ADA=$(_key ada)
GRACE=$(_key grace)

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
