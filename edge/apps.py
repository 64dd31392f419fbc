from django.apps import AppConfig
from django.urls import register_converter


class EdgeConfig(AppConfig):
    name = "edge"

    def ready(self) -> None:
        """Teach the address patterns what an id is."""
        from edge.paths import IdConverter

        register_converter(IdConverter, "id")
