"""The one origin: which address goes to the gateway, and which to the web.

python -m config.supervisor.front > docker/Caddyfile
"""

from __future__ import annotations

from edge.problems import Refusal, Unavailable, answer

CLAIM_PATH = r"/api/v1/campaigns/[^/]+/claims/"
"""Claims by key or token go the hot path; those of a signed-in browser go to the web."""
GATEWAY_PATHS = (
    r"/api/v1/markets/[^/]+/orders(/.*)?",
    r"/api/v1/waiting-rooms/.*",
    r"/waiting/[^/]+/",
)
"""The hot path, as regular expressions of whole paths. Everything else goes to the web."""
FILE_PATHS = (
    r"/admin/rewards/series/[0-9]+/import/",
    r"/api/v1/series/[^/]+/imports/",
)
"""Where files come in; nowhere else is more taken than we read ahead."""

UNAVAILABLE = Unavailable()
TOO_LARGE = Refusal(code="body_too_large", title="The request body is too large", status=413)

TEMPLATE = """\
# Made by config/supervisor/front.py: change it there.
{
	admin off
	persist_config off
	@auto_https@
	grace_period 3s
	log default {
		output stderr
		format console {
			level_format upper
		}
		level ERROR
	}
	servers {
		timeouts {
			read_header 10s
			read_body 5m
			idle 2m
		}
		max_header_size 16KB
		# Whose word is taken for where a request came from, and how: a balancer in front of us.
		# By default nobody's: the address is one that no machine has.
		trusted_proxies static {$TRUSTED_PROXIES:192.0.2.1/32}
	}
}

(upstream) {
	# A process that restarts is waited for; a request is sent again only if it never left.
	lb_try_duration 3s
	lb_try_interval 100ms
	transport http {
		dial_timeout 2s
		# Shorter than what both servers allow, so that no request meets a closing line.
		keepalive 20s
	}
}

(gateway) {
	reverse_proxy @gateway_upstream@ {
		flush_interval -1
		import upstream
	}
}

@site@ {
	@bind@
	# Files come as forms, to few addresses; of all else we read ahead as much as may come at all.
	@file {
		header Content-Type multipart/form-data*
		path_regexp ^(@file_paths@)$
	}
	@other not {
		header Content-Type multipart/form-data*
		path_regexp ^(@file_paths@)$
	}
	request_body @file {
		max_size 256MB
	}
	request_body @other {
		max_size 2MB
	}
	@gateway path_regexp ^(@gateway_paths@)$
	handle @gateway {
		import gateway
	}
	@claim {
		method POST
		path_regexp ^@claim_path@$
		header Authorization *
	}
	handle @claim {
		import gateway
	}
	handle {
		encode zstd gzip
		reverse_proxy @web_upstream@ {
			# A slow sender keeps Caddy waiting, not one of the few web processes.
			request_buffers 2MB
			import upstream
		}
	}
	handle_errors 413 {
		header Content-Type application/problem+json
		respond `@too_large@` 413
	}
	handle_errors 502 503 504 {
		header Content-Type application/problem+json
		header Cache-Control no-store
		header Retry-After 1
		respond `@unavailable@` 503
	}
}
"""


def caddyfile(
    *, site: str, bind: str, web_upstream: str, gateway_upstream: str, with_https: bool = False
) -> str:
    """Write Caddy's configuration. `bind` is an address to listen on, or empty for all."""
    values = {
        "auto_https": "" if with_https else "auto_https off",
        "site": site,
        "bind": f"bind {bind}" if bind else "",
        "gateway_paths": "|".join(GATEWAY_PATHS),
        "claim_path": CLAIM_PATH,
        "file_paths": "|".join(FILE_PATHS),
        "gateway_upstream": gateway_upstream,
        "web_upstream": web_upstream,
        "unavailable": answer(UNAVAILABLE).body.decode(),
        "too_large": answer(TOO_LARGE).body.decode(),
    }
    text = TEMPLATE
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    # A setting that is left out leaves no line behind.
    return "\n".join(line for line in text.split("\n") if line.strip() or not line)


def docker_caddyfile() -> str:
    """Write the configuration for containers; SITE_ADDRESS says which names it serves."""
    return caddyfile(
        site="{$SITE_ADDRESS:http://:8000}",
        bind="",
        web_upstream="web:8002",
        gateway_upstream="gateway:8001",
        with_https=True,
    )


if __name__ == "__main__":
    print(docker_caddyfile(), end="")
