from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        """Tell the OpenAPI document about API keys."""
        from accounts import openapi  # noqa: F401
